import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { TextArea } from "./field";
import css from "./json-editor.module.css";

export interface Flaw {
  from: number;
  to: number;
  message: string;
}

export interface JsonEditorProps {
  label: string;
  value: string;
  onValue: (value: string) => void;
  /** Say what is wrong with the text; without it, what is no JSON is marked. */
  check?: (text: string) => Flaw[];
  autofocus?: boolean;
  readOnly?: boolean;
}

type Open = typeof import("./json-editor-view").openEditor;

/**
 * Edit JSON with colours and marks. The editor is fetched when it is first shown and stands in a shadow root: there its
 * styles are adopted sheets, which the Content-Security-Policy allows. When it cannot be fetched, a plain text does.
 */
export function JsonEditor(props: JsonEditorProps) {
  const host = useRef<HTMLDivElement>(null);
  const editor = useRef<ReturnType<Open>>();
  const [failed, setFailed] = useState(false);
  const latest = useRef(props);
  latest.current = props;

  useEffect(() => {
    let gone = false;
    import("./json-editor-view").then(
      ({ openEditor }) => {
        if (gone || !host.current) return;
        editor.current = openEditor(host.current, latest);
      },
      () => setFailed(true),
    );
    return () => {
      gone = true;
      editor.current?.close();
    };
  }, []);
  useLayoutEffect(() => editor.current?.show(props.value), [props.value]);

  if (failed) return <TextArea label={props.label} value={props.value} onValue={props.onValue} />;
  return <div class={css.editor} ref={host} />;
}
