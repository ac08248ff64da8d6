//! Who we are to the coordinator.

import { signal } from "@preact/signals";
import { read, Refused, send } from "./api.ts";
import { link, reconnect } from "./stream.ts";
import { notable } from "./notable.ts";
import type { Problem, Session } from "./types.ts";
import { forgetAll } from "./view.ts";

export const session = signal<Session | null>(null);

/** The one-time code of a link such as `/session#code=…`, taken out of the address at once. */
export function takeCode(): string | null {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (code === null) return null;
  history.replaceState(null, "", location.pathname + location.search);
  return code;
}

export async function learnSession(): Promise<void> {
  try {
    const answer = await read<Session>("/session", null);
    if (answer.same) return;
    session.value = answer.data;
    if (!answer.data.may_read) link.value = { state: "shut" };
  } catch (error) {
    if (error instanceof Refused) session.value = null;
  }
}

export async function login(token: string): Promise<Problem | null> {
  try {
    session.value = await send<Session>("POST", "/session", { token });
    changed();
    return null;
  } catch (error) {
    return problemOf(error);
  }
}

export async function logout(): Promise<Problem | null> {
  try {
    await send("DELETE", "/session");
    changed();
    await learnSession();
    return null;
  } catch (error) {
    return problemOf(error);
  }
}

function changed(): void {
  forgetAll();
  notable.value = [];
  reconnect();
}

export function problemOf(error: unknown): Problem {
  if (error instanceof Refused) return error.problem;
  const detail = error instanceof Error ? error.message : String(error);
  return { type: "about:blank", title: "no answer", status: 0, detail };
}
