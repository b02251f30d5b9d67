import { useId, useState } from "preact/hooks";
import { Button } from "../../components/button";
import { Dialog } from "../../components/dialog";
import { Failure } from "../../components/feedback";
import type { ApiError } from "../../lib/api";
import css from "./base.module.css";
import { kindOf, textOf } from "./cells";
import { type Choices, type Conflict, conflictId, type FieldConflict, type Side } from "./conflicts";
import type { Value } from "./json";
import { nameOf } from "./sheet";

const SAID: Record<Conflict["kind"], string> = {
  changed: "was changed by someone else since it was fetched.",
  deleted: "was deleted by someone else since it was fetched.",
  exists: "is the key of an item that is there already. Yours would replace it.",
};

/** Show what others did meanwhile, field by field, and let one choose before anything is stored. */
export function ConflictDialog({
  conflicts,
  busy,
  error,
  onResolve,
  onClose,
}: {
  conflicts: Conflict[];
  busy: boolean;
  error: ApiError | undefined;
  onResolve: (choices: ReadonlyMap<string, Choices>) => void;
  onClose: () => void;
}) {
  const [choices, setChoices] = useState<ReadonlyMap<string, Choices>>(new Map());
  const choose = (id: string, field: string, side: Side) =>
    setChoices(new Map(choices).set(id, new Map(choices.get(id)).set(field, side)));
  return (
    <Dialog title="Changed meanwhile" onClose={onClose} wide>
      <p>Nothing was saved yet. Choose what is to stand in each field.</p>
      {conflicts.map((conflict) => (
        <OneConflict
          key={conflictId(conflict)}
          conflict={conflict}
          choices={choices.get(conflictId(conflict)) ?? new Map()}
          onChoose={(field, side) => choose(conflictId(conflict), field, side)}
        />
      ))}
      <Failure error={error} />
      <footer class="row end">
        <Button onClick={onClose}>Go on editing</Button>
        <Button kind="main" busy={busy} onClick={() => onResolve(choices)}>
          Save as chosen
        </Button>
      </footer>
    </Dialog>
  );
}

function OneConflict({
  conflict,
  choices,
  onChoose,
}: {
  conflict: Conflict;
  choices: Choices;
  onChoose: (field: string, side: Side) => void;
}) {
  const { kind, key, fields } = conflict;
  return (
    <section class="stack" aria-label={key}>
      <p>
        <strong>{key}</strong> {SAID[kind]}
      </p>
      {kind === "deleted" ? (
        <Choice
          label={`What happens to ${nameOf(conflict.row)}`}
          chosen={choices.get("") ?? "mine"}
          onChoose={(side) => onChoose("", side)}
          mine="Store it again"
          theirs="Let it go"
        />
      ) : (
        <div class="table">
          <table class={css.choices}>
            <thead>
              <tr>
                <th scope="col">Field</th>
                {kind === "changed" && <th scope="col">As fetched</th>}
                <th scope="col">Mine or theirs</th>
              </tr>
            </thead>
            <tbody>
              {fields.map((each) => (
                <FieldChoice
                  key={each.field}
                  each={each}
                  conflict={conflict}
                  choices={choices}
                  onChoose={onChoose}
                />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function FieldChoice({
  each,
  conflict,
  choices,
  onChoose,
}: {
  each: FieldConflict;
  conflict: Conflict;
  choices: Choices;
  onChoose: (field: string, side: Side) => void;
}) {
  return (
    <tr>
      <th scope="row" class="mono">
        {each.field}
      </th>
      {conflict.kind === "changed" && <td class="mono">{said(each.loaded)}</td>}
      <td>
        <Choice
          label={`${each.field} of ${conflict.key}`}
          chosen={choices.get(each.field) ?? each.advised}
          onChoose={(side) => onChoose(each.field, side)}
          mine={`Mine: ${said(each.mine)}`}
          theirs={`Theirs: ${said(each.theirs)}`}
        />
      </td>
    </tr>
  );
}

function said(value: Value | undefined): string {
  if (value === undefined) return "no such field";
  return kindOf(value) === "string" ? JSON.stringify(textOf(value)) : textOf(value);
}

function Choice({
  label,
  chosen,
  onChoose,
  mine,
  theirs,
}: {
  label: string;
  chosen: Side;
  onChoose: (side: Side) => void;
  mine: string;
  theirs: string;
}) {
  const name = useId();
  return (
    <fieldset class={css.choice}>
      <legend class="visually-hidden">{label}</legend>
      {(["mine", "theirs"] as const).map((side) => (
        <label key={side}>
          <input type="radio" name={name} checked={chosen === side} onChange={() => onChoose(side)} />
          <span>{side === "mine" ? mine : theirs}</span>
        </label>
      ))}
    </fieldset>
  );
}
