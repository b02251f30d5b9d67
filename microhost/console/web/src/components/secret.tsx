import type { ComponentChildren } from "preact";
import { Button } from "./button";
import { Dialog } from "./dialog";
import { CodeLine } from "./showing";

/** Hand out something that is shown once. */
export function SecretDialog({
  title,
  secret,
  label,
  onClose,
  children,
}: {
  title: string;
  secret: string;
  /** What the button that copies it is called. */
  label: string;
  onClose: () => void;
  children: ComponentChildren;
}) {
  return (
    <Dialog title={title} onClose={onClose}>
      <div class="stack">{children}</div>
      <CodeLine text={secret} label={label} />
      <footer class="row end">
        <Button kind="main" onClick={onClose}>
          Done
        </Button>
      </footer>
    </Dialog>
  );
}
