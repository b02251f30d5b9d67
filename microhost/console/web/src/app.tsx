import { useComputed, useSignalEffect } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { Redirect, Route, Router, Switch, useLocation, useSearchParams } from "wouter-preact";
import { Confirmation } from "./components/dialog";
import { Failure, Toasts } from "./components/feedback";
import { useEncodedLocation, useEncodedSearch } from "./lib/addresses";
import type { ApiError } from "./lib/api";
import { refusals } from "./lib/api";
import { lazy } from "./lib/lazy";
import { asApiError } from "./lib/loading";
import { loadSession, session } from "./lib/session";
import { LogInPage } from "./pages/log-in";
import { NotFound } from "./pages/not-found";
import { Shell } from "./shell/shell";

const Home = lazy(() => import("./pages/home"));
const Enter = lazy(() => import("./pages/enter"));
const Invitation = lazy(() => import("./pages/invitation"));
const TerminalLogin = lazy(() => import("./pages/terminal-login"));
const Settings = lazy(() => import("./pages/settings"));
const ProjectPage = lazy(() => import("./pages/project"));
const ProjectKeys = lazy(() => import("./pages/project-keys"));
const ProjectSettings = lazy(() => import("./pages/project-settings"));
const MicroPage = lazy(() => import("./pages/micro/micro"));
const BasePage = lazy(() => import("./pages/base/base"));
const DeployPage = lazy(() => import("./pages/deploy/deploy"));
const DrivePage = lazy(() => import("./pages/drive/drive"));

/** The whole console. */
export function App() {
  return (
    <Router hook={useEncodedLocation} searchHook={useEncodedSearch}>
      <Console />
    </Router>
  );
}

/** Who is not logged in sees the log-in page at whatever address. */
function Console() {
  const [failure, setFailure] = useState<ApiError>();
  const [path] = useLocation();
  const load = () =>
    loadSession().then(
      () => setFailure(undefined),
      (error) => setFailure(asApiError(error)),
    );
  useEffect(() => void load(), []);
  useSignalEffect(() => {
    // an answer said that nobody is logged in: look, and show the log-in page when it is so
    if (refusals.value > 0 && session.peek()) void load();
  });
  const state = useComputed(() =>
    session.value === undefined ? "unknown" : session.value ? "in" : "out",
  ).value;

  return (
    <>
      {failure && state === "unknown" ? (
        <div class="alone">
          <main>
            <Failure error={failure} onRetry={() => void load()} />
          </main>
        </div>
      ) : path === "/invitation" ? (
        <Invitation />
      ) : state === "out" ? (
        <LogInPage />
      ) : state === "in" ? (
        <Inside />
      ) : null}
      <Confirmation />
      <Toasts />
    </>
  );
}

function Inside() {
  return (
    <Switch>
      <Route path="/enter">
        <Enter />
      </Route>
      <Route path="/login/cli">
        <Login />
      </Route>
      <Route>
        <Shell>
          <Switch>
            <Route path="/">
              <Home />
            </Route>
            <Route path="/deploy">
              <DeployPage />
            </Route>
            <Route path="/settings/*?">
              <Settings />
            </Route>
            <Route path="/projects/:project">
              <ProjectPage />
            </Route>
            <Route path="/projects/:project/keys">
              <ProjectKeys />
            </Route>
            <Route path="/projects/:project/settings">
              <ProjectSettings />
            </Route>
            <Route path="/projects/:project/micros/:micro/*?">
              <MicroPage />
            </Route>
            <Route path="/projects/:project/bases/:base">
              <BasePage />
            </Route>
            <Route path="/projects/:project/drives/:drive">
              <DrivePage />
            </Route>
            <Route>
              <NotFound />
            </Route>
          </Switch>
        </Shell>
      </Route>
    </Switch>
  );
}

/** Approve a terminal's login (`?code=`); without a code there is nothing to do here. */
function Login() {
  const [search] = useSearchParams();
  return search.has("code") ? <TerminalLogin /> : <Redirect to="/" replace />;
}
