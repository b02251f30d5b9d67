/** Remember what this browser's reader prefers. Storage may be closed: then nothing is remembered. */

import { effect, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

/** Read a remembered text, null when there is none. */
export function recall(name: string): string | null {
  try {
    return localStorage.getItem(`microhost.${name}`);
  } catch {
    return null;
  }
}

/** Remember a text. */
export function remember(name: string, value: string): void {
  try {
    localStorage.setItem(`microhost.${name}`, value);
  } catch {
    // a closed storage costs only the memory
  }
}

const remembered = recall("theme");
export const theme = signal<Theme>(remembered === "light" || remembered === "dark" ? remembered : "system");

/** Keep the page in the theme that was chosen. */
export function followTheme(): void {
  effect(() => {
    remember("theme", theme.value);
    if (theme.value === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme.value;
  });
}
