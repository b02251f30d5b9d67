import { CircleQuestionMark, X } from "lucide-preact";
import { useEffect, useState } from "preact/hooks";
import { Button, IconButton } from "../../components/button";
import { TextField } from "../../components/field";
import css from "./base.module.css";
import { OPERATORS, readQuery } from "./queries";

const HELP = "base-query-help";

/** The query that is asked, in the docs' language. It is checked here, and kept in the address. */
export function QueryBox({
  query,
  busy,
  onQuery,
}: {
  query: string;
  busy: boolean;
  onQuery: (query: string) => void;
}) {
  const [text, setText] = useState(query);
  const [problem, setProblem] = useState<string>();
  useEffect(() => {
    const asked = readQuery(query);
    setText(query);
    setProblem("problem" in asked ? asked.problem : undefined);
  }, [query]);
  const ask = (wanted: string) => {
    const asked = readQuery(wanted);
    setProblem("problem" in asked ? asked.problem : undefined);
    if (!("problem" in asked)) onQuery(wanted.trim());
  };
  return (
    <form
      class={css.query}
      aria-label="Query"
      onSubmit={(event) => {
        event.preventDefault();
        ask(text);
      }}
    >
      <TextField
        label="Query"
        hideLabel
        class="mono"
        placeholder={'Query: {"age?gte": 18}'}
        spellcheck={false}
        value={text}
        error={problem}
        onValue={(value) => {
          setText(value);
          setProblem(undefined);
        }}
      />
      <Button type="submit" busy={busy}>
        Fetch
      </Button>
      {query && (
        <IconButton label="Clear the query" onClick={() => ask("")}>
          <X size={16} aria-hidden="true" />
        </IconButton>
      )}
      <IconButton label="How to query" popovertarget={HELP}>
        <CircleQuestionMark size={16} aria-hidden="true" />
      </IconButton>
      <QueryHelp
        onExample={(example) => {
          document.getElementById(HELP)?.hidePopover();
          setText(example);
          setProblem(undefined);
        }}
      />
    </form>
  );
}

function QueryHelp({ onExample }: { onExample: (example: string) => void }) {
  return (
    <div id={HELP} popover="auto" class={css.help} role="dialog" aria-label="How to query">
      <h2>How to query</h2>
      <p>
        A query is a JSON object whose entries must all hold, or a list of such objects of which one must
        hold. Dots lead into objects: <code>user.name</code>. An example puts itself into the box.
      </p>
      <div class="table">
        <table>
          <thead>
            <tr>
              <th scope="col">Operator</th>
              <th scope="col">Meaning</th>
              <th scope="col">Example</th>
            </tr>
          </thead>
          <tbody>
            {OPERATORS.map(([sign, meaning, example]) => (
              <tr key={sign}>
                <td>{sign ? <code>?{sign}</code> : "none"}</td>
                <td>{meaning}</td>
                <td>
                  <button type="button" class={css.example} onClick={() => onExample(example)}>
                    <code>{example}</code>
                  </button>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="help">
        Keys are strings and take <code>pfx</code>, <code>r</code>, <code>gt</code>, <code>gte</code>,{" "}
        <code>lt</code>, <code>lte</code> or equality; there is one condition on the key, the same in every
        object of a list.
      </p>
    </div>
  );
}
