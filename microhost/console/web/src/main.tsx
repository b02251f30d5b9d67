import { render } from "preact";
import { App } from "./app";
import { followTheme } from "./lib/preferences";
import "./styles/tokens.css";
import "./styles/elements.css";
import "./styles/pieces.css";
import "./styles/shell.css";

followTheme();
render(<App />, document.getElementById("app")!);
