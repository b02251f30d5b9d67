/** Know who is logged in. */

import { signal } from "@preact/signals";
import { ApiError, api } from "./api";
import type { Session } from "./types";

/** undefined: not known yet; null: nobody. */
export const session = signal<Session | null | undefined>(undefined);

/** Ask the host who is logged in. Throws ApiError when it does not answer. */
export async function loadSession(): Promise<void> {
  try {
    session.value = await api.get<Session>("/session");
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 401) throw error;
    session.value = null;
  }
}

/** Log in with an access token, or with a name and a password. Throws ApiError. */
export async function logIn(given: { token: string } | { name: string; password: string }): Promise<void> {
  await api.post("/session", given);
  await loadSession();
}

export async function logOut(): Promise<void> {
  await api.delete("/session");
  session.value = null;
}
