import type { ComponentChildren, JSX } from "preact";
import { useId } from "preact/hooks";

interface Common {
  label: string;
  help?: ComponentChildren;
  error?: string | undefined;
  hideLabel?: boolean;
  onValue?: (value: string) => void;
}

function Frame({
  id,
  label,
  help,
  error,
  hideLabel,
  children,
}: Common & { id: string; children: ComponentChildren }) {
  return (
    <div class="field">
      <label for={id} class={hideLabel ? "visually-hidden" : undefined}>
        {label}
      </label>
      {children}
      {help && (
        <p class="help" id={`${id}-help`}>
          {help}
        </p>
      )}
      {error && (
        <p class="field-error" id={`${id}-error`} role="alert">
          {error}
        </p>
      )}
    </div>
  );
}

const described = (id: string, { help, error }: Common) =>
  [help && `${id}-help`, error && `${id}-error`].filter(Boolean).join(" ") || undefined;

type Input = Omit<JSX.IntrinsicElements["input"], "label" | "ref">;
type TextArea = Omit<JSX.IntrinsicElements["textarea"], "label" | "ref">;
type Select = Omit<JSX.IntrinsicElements["select"], "label" | "ref">;

/** A labelled line of text. */
export function TextField({ label, help, error, hideLabel, onValue, ...rest }: Common & Input) {
  const id = useId();
  const common = { label, help, error, hideLabel };
  return (
    <Frame id={id} {...common}>
      <input
        autocomplete="off"
        {...rest}
        id={id}
        aria-describedby={described(id, common)}
        aria-invalid={error ? true : undefined}
        onInput={(event) => onValue?.(event.currentTarget.value)}
      />
    </Frame>
  );
}

/** A labelled text of several lines. */
export function TextArea({ label, help, error, hideLabel, onValue, ...rest }: Common & TextArea) {
  const id = useId();
  const common = { label, help, error, hideLabel };
  return (
    <Frame id={id} {...common}>
      <textarea
        spellcheck={false}
        {...rest}
        id={id}
        aria-describedby={described(id, common)}
        aria-invalid={error ? true : undefined}
        onInput={(event) => onValue?.(event.currentTarget.value)}
      />
    </Frame>
  );
}

/** A labelled choice; `options` are values, or values with what is shown for them. */
export function SelectField({
  label,
  help,
  error,
  hideLabel,
  onValue,
  options,
  ...rest
}: Common & Select & { options: readonly (string | readonly [value: string, shown: string])[] }) {
  const id = useId();
  const common = { label, help, error, hideLabel };
  return (
    <Frame id={id} {...common}>
      <select
        {...rest}
        id={id}
        aria-describedby={described(id, common)}
        onChange={(event) => onValue?.(event.currentTarget.value)}
      >
        {options.map((each) => {
          const [value, shown] = typeof each === "string" ? [each, each] : each;
          return (
            <option key={value} value={value}>
              {shown}
            </option>
          );
        })}
      </select>
    </Frame>
  );
}

/** A switch that is on or off at once. */
export function Toggle({
  label,
  help,
  checked,
  disabled,
  onChange,
}: {
  label: string;
  help?: ComponentChildren;
  checked: boolean;
  disabled?: boolean;
  onChange: (checked: boolean) => void;
}) {
  const id = useId();
  return (
    <div class="toggle">
      <input
        id={id}
        type="checkbox"
        role="switch"
        checked={checked}
        aria-checked={checked}
        disabled={disabled}
        aria-describedby={help ? `${id}-help` : undefined}
        onChange={(event) => onChange(event.currentTarget.checked)}
      />
      <div>
        <label for={id}>{label}</label>
        {help && (
          <p class="help" id={`${id}-help`}>
            {help}
          </p>
        )}
      </div>
    </div>
  );
}
