import { TextField } from "./field";

/** Ask for a new password twice; `wrong` says why the second is not the first. */
export function NewPasswordFields({
  password,
  again,
  wrong,
  autofocus,
  onPassword,
  onAgain,
}: {
  password: string;
  again: string;
  wrong: string | undefined;
  autofocus?: boolean;
  onPassword: (text: string) => void;
  onAgain: (text: string) => void;
}) {
  return (
    <>
      <TextField
        label="New password"
        type="password"
        autocomplete="new-password"
        required
        autofocus={autofocus}
        value={password}
        onValue={onPassword}
      />
      <TextField
        label="New password again"
        type="password"
        autocomplete="new-password"
        required
        error={wrong}
        value={again}
        onValue={onAgain}
      />
    </>
  );
}

export const NOT_THE_SAME = "The two are not the same.";
