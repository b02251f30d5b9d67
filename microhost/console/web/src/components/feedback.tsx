import { signal } from "@preact/signals";
import { CircleAlert, CircleCheck, X } from "lucide-preact";
import type { ComponentChildren } from "preact";
import type { ApiError } from "../lib/api";
import type { Loaded } from "../lib/loading";
import { Button, IconButton } from "./button";

/** Why something did not go well, in the host's sentences. */
export function Failure({ error, onRetry }: { error: ApiError | undefined; onRetry?: () => void }) {
  if (!error) return null;
  return (
    <div class="notice bad" role="alert">
      <CircleAlert size={18} aria-hidden="true" />
      <div>
        {error.sentences.map((each) => (
          <p key={each}>{each}</p>
        ))}
      </div>
      {onRetry && (
        <Button small onClick={onRetry}>
          Try again
        </Button>
      )}
    </div>
  );
}

/** Something worth reading that is no failure. */
export function Notice({
  kind = "info",
  children,
}: {
  kind?: "info" | "warn" | "good";
  children: ComponentChildren;
}) {
  return (
    <div class={`notice ${kind}`}>
      <CircleAlert size={18} aria-hidden="true" />
      <div>{children}</div>
    </div>
  );
}

/** A place with nothing in it yet, and what to do about it. */
export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children}
    </div>
  );
}

/** Grey lines where text will stand, so that nothing jumps. */
export function Skeleton({ lines = 4 }: { lines?: number }) {
  return (
    <div class="skeleton" role="status" aria-label="Loading">
      {Array.from({ length: lines }, (_, index) => (
        <span key={index} />
      ))}
    </div>
  );
}

/** What was loaded; before that grey lines, and a failure with a way to try again. */
export function Show<T>({
  of: loaded,
  lines,
  children,
}: {
  of: Loaded<T>;
  lines?: number;
  children: (data: T) => ComponentChildren;
}) {
  return (
    <>
      <Failure error={loaded.error} onRetry={() => void loaded.reload()} />
      {loaded.data !== undefined ? children(loaded.data) : loaded.error ? null : <Skeleton lines={lines} />}
    </>
  );
}

interface Toast {
  id: number;
  text: string;
  action?: { label: string; run: () => void };
}

const toasts = signal<Toast[]>([]);
const TOAST_MS = 6000;
let lastToast = 0;

/** Say in a corner that something was done; `action` may offer to undo it. */
export function toast(text: string, action?: Toast["action"]): void {
  lastToast += 1;
  const mine: Toast = { id: lastToast, text, action };
  toasts.value = [...toasts.value.slice(-3), mine];
  setTimeout(() => dismiss(mine.id), TOAST_MS);
}

function dismiss(id: number): void {
  toasts.value = toasts.value.filter((each) => each.id !== id);
}

/** Stands once in the shell. */
export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map((each) => (
        <div key={each.id} class="toast">
          <CircleCheck size={18} aria-hidden="true" />
          <span>{each.text}</span>
          {each.action && (
            <Button
              small
              kind="ghost"
              onClick={() => {
                dismiss(each.id);
                each.action?.run();
              }}
            >
              {each.action.label}
            </Button>
          )}
          <IconButton label="Dismiss" small onClick={() => dismiss(each.id)}>
            <X size={14} aria-hidden="true" />
          </IconButton>
        </div>
      ))}
    </div>
  );
}
