import { useState } from "preact/hooks";
import { Button } from "../../components/button";
import { Dialog } from "../../components/dialog";
import { Notice } from "../../components/feedback";
import { SelectField, TextArea, TextField } from "../../components/field";
import { JsonEditor } from "../../components/json-editor";
import { KINDS, type Kind } from "./cells";
import { type Draft, draftFrom, findFlaws, readDraft, readItem, retype } from "./drafting";
import { type Value, type ValueMap, writeJson } from "./json";

const KIND_NAMES: Record<Kind, string> = {
  string: "Text (string)",
  number: "Number",
  boolean: "True or false",
  null: "null",
  object: "Object",
  array: "List (array)",
  absent: "No such field",
};

/** Edit one value of any type, and change its type. */
export function ValueDialog({
  field,
  name,
  value,
  onValue,
  onClose,
}: {
  field: string;
  /** The item's. */
  name: string;
  value: Value | undefined;
  onValue: (value: Value | undefined) => void;
  onClose: () => void;
}) {
  const [draft, setDraft] = useState<Draft>(() => draftFrom(value));
  const reading = readDraft(draft, field);
  const take = () => {
    if ("problem" in reading) return;
    onValue(reading.value);
    onClose();
  };
  return (
    <Dialog title={`${field} of ${name}`} onClose={onClose} wide>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          take();
        }}
      >
        <SelectField
          label="Type"
          value={draft.kind}
          options={KINDS.map((kind) => [kind, KIND_NAMES[kind]] as const)}
          onValue={(kind) => setDraft(retype(draft, kind as Kind))}
        />
        <DraftInput draft={draft} onText={(text) => setDraft({ ...draft, text })} />
        <Ending problem={"problem" in reading ? reading.problem : null} onClose={onClose} />
      </form>
    </Dialog>
  );
}

function DraftInput({ draft, onText }: { draft: Draft; onText: (text: string) => void }) {
  const common = { label: "Value", value: draft.text, onValue: onText };
  switch (draft.kind) {
    case "string":
      return <TextArea {...common} rows={8} autofocus />;
    case "number":
      return <TextField {...common} inputMode="decimal" autofocus />;
    case "boolean":
      return <SelectField {...common} options={["true", "false"]} />;
    case "object":
    case "array":
      return <JsonEditor key={draft.kind} {...common} check={findFlaws} autofocus />;
    default:
      return (
        <p class="soft">
          {draft.kind === "null" ? "The field is there, and is null." : "The item will not have this field."}
        </p>
      );
  }
}

/** Edit an item as a whole. */
export function ItemDialog({
  name,
  item,
  onItem,
  onClose,
}: {
  name: string;
  item: ValueMap;
  onItem: (item: ValueMap) => void;
  onClose: () => void;
}) {
  const [text, setText] = useState(() => writeJson(item, 2));
  const reading = readItem(text);
  return (
    <Dialog title={`The item ${name}`} onClose={onClose} wide>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if ("problem" in reading) return;
          onItem(reading.value as ValueMap);
          onClose();
        }}
      >
        <JsonEditor label="Item as JSON" value={text} onValue={setText} check={findFlaws} autofocus />
        <Ending problem={"problem" in reading ? reading.problem : null} onClose={onClose} />
      </form>
    </Dialog>
  );
}

function Ending({ problem, onClose }: { problem: string | null; onClose: () => void }) {
  return (
    <>
      <p class="field-error" role="status" style={{ minHeight: "1.25rem" }}>
        {problem}
      </p>
      <footer class="row end">
        <Button onClick={onClose}>Cancel</Button>
        <Button type="submit" kind="main" disabled={problem !== null}>
          Take it
        </Button>
      </footer>
    </>
  );
}

/** Name a field that no item has yet. */
export function FieldDialog({
  taken,
  onField,
  onClose,
}: {
  taken: readonly string[];
  onField: (name: string) => void;
  onClose: () => void;
}) {
  const [name, setName] = useState("");
  const problem = taken.includes(name) ? "There is such a column already." : undefined;
  return (
    <Dialog title="Add a field" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (!name || problem) return;
          onField(name);
          onClose();
        }}
      >
        <TextField label="Name" value={name} onValue={setName} error={problem} autofocus />
        <Notice>A column appears; an item has the field once a value is typed into it.</Notice>
        <footer class="row end">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" kind="main" disabled={!name || problem !== undefined}>
            Add
          </Button>
        </footer>
      </form>
    </Dialog>
  );
}
