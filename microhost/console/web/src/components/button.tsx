import { LoaderCircle } from "lucide-preact";
import type { ComponentChildren, JSX } from "preact";

type Native = Omit<JSX.IntrinsicElements["button"], "kind" | "size" | "ref">;

export interface ButtonProps extends Native {
  kind?: "main" | "plain" | "ghost" | "danger";
  small?: boolean;
  busy?: boolean;
  children?: ComponentChildren;
}

/** A button; `busy` keeps its width, shows that something goes on and takes no further click. */
export function Button({ kind = "plain", small, busy, children, disabled, ...rest }: ButtonProps) {
  return (
    <button
      type="button"
      {...rest}
      class={`button ${kind} ${small ? "small" : ""} ${rest.class ?? ""}`}
      disabled={disabled}
      aria-disabled={busy || undefined}
      onClick={busy ? (event) => event.preventDefault() : rest.onClick}
    >
      {busy && <LoaderCircle class="spin" size={16} aria-hidden="true" />}
      {children}
    </button>
  );
}

/** A button that is only a picture; `label` is its name and its hint. */
export function IconButton({ label, children, ...rest }: ButtonProps & { label: string }) {
  return (
    <Button kind="ghost" {...rest} class={`icon-only ${rest.class ?? ""}`} aria-label={label} title={label}>
      {children}
    </Button>
  );
}
