import { signal } from "@preact/signals";
import { X } from "lucide-preact";
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import type { Action } from "../lib/loading";
import { Button, IconButton } from "./button";
import { Failure } from "./feedback";
import { TextField } from "./field";

/** A modal dialog; Escape, the cross and a click beside it close it. Focus returns to where it was. */
export function Dialog({
  title,
  onClose,
  wide,
  children,
}: {
  title: string;
  onClose: () => void;
  wide?: boolean;
  children: ComponentChildren;
}) {
  const element = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const before = document.activeElement;
    const dialog = element.current;
    dialog?.showModal();
    return () => {
      // all else is inert, and takes no focus, until it is closed
      dialog?.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape does the same, by the element itself
    <dialog
      ref={element}
      class={wide ? "dialog wide" : "dialog"}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => event.target === element.current && onClose()}
    >
      <div class="dialog-content">
        <header>
          <h2 id={id}>{title}</h2>
          <IconButton label="Close" onClick={onClose}>
            <X size={18} aria-hidden="true" />
          </IconButton>
        </header>
        {children}
      </div>
    </dialog>
  );
}

/** A dialog with a form: what is asked, and a button with the word for what comes of it. `doing` is what talks to the host. */
export function FormDialog({
  title,
  action,
  doing,
  onSubmit,
  onClose,
  children,
}: {
  title: string;
  action: string;
  doing?: Action<[]>;
  onSubmit?: () => void;
  onClose: () => void;
  children: ComponentChildren;
}) {
  return (
    <Dialog title={title} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          onSubmit?.();
          void doing?.run();
        }}
      >
        {children}
        <Failure error={doing?.error} />
        <footer class="row end">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" kind="main" busy={doing?.busy ?? false}>
            {action}
          </Button>
        </footer>
      </form>
    </Dialog>
  );
}

export interface Question {
  title: string;
  body: ComponentChildren;
  /** The word on the button that does it. */
  action: string;
  danger?: boolean;
  /** What must be typed before it can be done. */
  typed?: string;
}

const asked = signal<(Question & { answer: (yes: boolean) => void }) | null>(null);

/** Ask before something that cannot be undone. */
export function confirm(question: Question): Promise<boolean> {
  return new Promise((resolve) => {
    asked.value = {
      ...question,
      answer: (yes) => {
        asked.value = null;
        resolve(yes);
      },
    };
  });
}

/** Stands once in the shell and shows what `confirm` asks. */
export function Confirmation() {
  const question = asked.value;
  return question && <Ask key={question.title} {...question} />;
}

function Ask({ title, body, action, danger, typed, answer }: Question & { answer: (yes: boolean) => void }) {
  const [text, setText] = useState("");
  return (
    <Dialog title={title} onClose={() => answer(false)}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (!typed || text === typed) answer(true);
        }}
      >
        <div class="dialog-body">{body}</div>
        {typed && <TextField label={`Type ${typed} to go on`} value={text} onValue={setText} autofocus />}
        <footer class="row end">
          <Button onClick={() => answer(false)}>Cancel</Button>
          <Button
            type="submit"
            kind={danger ? "danger" : "main"}
            autofocus={!typed}
            disabled={typed !== undefined && text !== typed}
          >
            {action}
          </Button>
        </footer>
      </form>
    </Dialog>
  );
}
