import { useState } from "preact/hooks";
import { Button } from "../../components/button";
import { Failure, toast } from "../../components/feedback";
import { SelectField, TextArea } from "../../components/field";
import { Card } from "../../components/page";
import { api } from "../../lib/api";
import { useAction } from "../../lib/loading";
import type { Micro } from "../../lib/types";
import styles from "./micro.module.css";
import { apiOf, type PartProps } from "./place";

const CHOICES = [
  ["public", "The internet"],
  ["names", "Only the names below"],
  ["none", "Nothing"],
] as const;

/** Where a Micro may connect to. */
export function Egress({ micro, reload }: PartProps) {
  const listed = typeof micro.egress === "string" ? [] : micro.egress;
  const [choice, setChoice] = useState<string>(typeof micro.egress === "string" ? micro.egress : "names");
  const [text, setText] = useState(listed.join("\n"));
  const names = text.split(/[\s,]+/).filter(Boolean);
  const wanted = choice === "names" ? names : choice;
  const saving = useAction(async () => {
    const changed = await api.patch<Micro>(apiOf(micro), { egress: wanted });
    if (typeof changed.egress !== "string") setText(changed.egress.join("\n"));
    await reload();
    toast(["Saved.", ...changed.warnings].join(" "));
  });
  return (
    <Card
      title="Egress"
      help="Where it may connect to, from the next start on; its Bases and Drives in any case."
    >
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void saving.run();
        }}
      >
        <div class={styles.fields}>
          <SelectField
            label="It may connect to"
            help="Never to this machine, its private networks or mail servers on port 25."
            options={CHOICES}
            value={choice}
            onValue={setChoice}
          />
          {choice === "names" && (
            <TextArea
              label="Names"
              help="One a line, such as api.example.org; *.example.org stands for all below."
              rows={4}
              required
              value={text}
              onValue={setText}
            />
          )}
        </div>
        <Failure error={saving.error} />
        <div class="row end">
          <Button
            type="submit"
            kind="main"
            busy={saving.busy}
            disabled={JSON.stringify(wanted) === JSON.stringify(micro.egress)}
          >
            Save
          </Button>
        </div>
      </form>
    </Card>
  );
}
