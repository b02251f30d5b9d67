import { useState } from "preact/hooks";
import { useLocation } from "wouter-preact";
import { FormDialog } from "../../components/dialog";
import { SelectField, TextField } from "../../components/field";
import { api, url } from "../../lib/api";
import { useAction, useLoad } from "../../lib/loading";
import { paths } from "../../lib/paths";
import { useProject } from "../../lib/project";
import type { Doctor, Micro } from "../../lib/types";

/** Ask for a Micro without code. */
export function NewMicro({ project, onClose }: { project: string; onClose: () => void }) {
  const { micros } = useProject();
  const [name, setName] = useState("");
  const [runtime, setRuntime] = useState("");
  const [, go] = useLocation();
  const doctor = useLoad<Doctor>("/doctor");
  const runtimes = (doctor.data?.runtimes ?? []).map(({ name }) => name);
  const making = useAction(async () => {
    const asked = { name: name.trim(), ...(runtime ? { runtime } : {}) };
    const micro = await api.post<Micro>(url`/projects/${project}/micros`, asked);
    await micros.reload();
    go(paths.micro(micro), { replace: true });
  });
  return (
    <FormDialog title="New Micro" action="Create" doing={making} onClose={onClose}>
      <TextField
        label="Name"
        help="It stands in addresses and in the deta command."
        required
        autofocus
        value={name}
        onValue={setName}
      />
      <SelectField
        label="Runtime"
        options={[["", "The newest Python"], ...runtimes]}
        value={runtime}
        onValue={setRuntime}
      />
    </FormDialog>
  );
}
