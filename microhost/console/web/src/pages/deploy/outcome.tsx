import { Link } from "wouter-preact";
import { Notice } from "../../components/feedback";
import { Card } from "../../components/page";
import type { ApiError } from "../../lib/api";
import { paths } from "../../lib/paths";
import type { Micro } from "../../lib/types";

const LINES_SHOWN = 200;

/** How a deployment goes. */
export function Going({ phase, lines }: { phase: string; lines: string[] }) {
  return (
    <>
      <p role="status">{phase}…</p>
      {lines.length > 0 && <pre>{lines.slice(-LINES_SHOWN).join("\n")}</pre>}
    </>
  );
}

/** What its code said when it was refused, and what may help. */
export function Refused({ error }: { error: ApiError | undefined }) {
  const hints = Array.isArray(error?.body.hints) ? error.body.hints.map(String) : [];
  const log = typeof error?.body.log === "string" ? error.body.log : "";
  return (
    <>
      {hints.map((each) => (
        <p class="help" key={each}>
          {each}
        </p>
      ))}
      {log && <pre>{log}</pre>}
    </>
  );
}

/** What its owner should know. */
export function Notes({ texts }: { texts: string[] }) {
  if (!texts.length) return null;
  return (
    <Notice kind="warn">
      {texts.map((each) => (
        <p key={each}>{each}</p>
      ))}
    </Notice>
  );
}

/** Where the new Micro is. */
export function Done({ micro }: { micro: Micro }) {
  return (
    <Card title="It is live">
      <div class="stack">
        <Notice kind="good">
          <p>
            <Link href={paths.micro(micro)}>{micro.name}</Link> of the project {micro.project_name} answers at{" "}
            <a href={micro.endpoint} target="_blank" rel="noreferrer">
              {micro.endpoint}
            </a>
            .
          </p>
          {micro.http_auth && (
            <p>It is closed to the public. Its settings open it, or give others a key to it.</p>
          )}
        </Notice>
        <Notes texts={micro.warnings} />
      </div>
    </Card>
  );
}
