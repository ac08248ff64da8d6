//! Asks the coordinator. Everything that can come back is a type of its own: an answer, the
//! same as before, a problem that it tells of, or no answer at all.

import { heardDate } from "./clock.ts";
import type { Problem } from "./types.ts";

export const API = "/api/v1";

// Longer than any view takes, shorter than a person waits before they wonder.
const ANSWER_WITHIN_MS = 5_000;

/** The coordinator answered, and said no. */
export class Refused extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
  }
}

/** Nobody answered in time. */
export class Unreached extends Error {}

export type Read<T> = { same: true } | { same: false; data: T; etag: string | null };

export async function read<T>(path: string, etag: string | null): Promise<Read<T>> {
  const answer = await ask(path, { headers: etag === null ? {} : { "If-None-Match": etag } });
  if (answer.status === 304) return { same: true };
  const data = (await settled(answer.json())) as T;
  return { same: false, data, etag: answer.headers.get("ETag") };
}

export async function send<T>(method: "POST" | "DELETE", path: string, body?: unknown): Promise<T | null> {
  const init: RequestInit = { method, headers: { "Content-Type": "application/json" } };
  if (body !== undefined) init.body = JSON.stringify(body);
  const answer = await ask(path, init, 30_000);
  return answer.status === 204 ? null : ((await settled(answer.json())) as T);
}

async function ask(path: string, init: RequestInit, within = ANSWER_WITHIN_MS): Promise<Response> {
  const asked = Date.now();
  const answer = await settled(
    // Freshness is our own business: the browser's cache would hide what is 304 and what is not.
    fetch(API + path, { ...init, cache: "no-store", signal: AbortSignal.timeout(within) }),
  );
  heardDate(answer.headers.get("Date"), asked, Date.now());
  if (answer.ok || answer.status === 304) return answer;
  throw new Refused(await problemOf(answer));
}

async function settled<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch {
    throw new Unreached("the coordinator does not answer");
  }
}

/** Also of answers that come from something between us and the coordinator. */
async function problemOf(answer: Response): Promise<Problem> {
  const fallback: Problem = {
    type: "about:blank",
    title: answer.statusText || `status ${answer.status}`,
    status: answer.status,
    detail: `the coordinator answered with status ${answer.status}`,
  };
  try {
    const told: unknown = await answer.json();
    return typeof told === "object" && told !== null ? { ...fallback, ...told } : fallback;
  } catch {
    return fallback;
  }
}

/** `/nodes` and what is set of the query; what is empty is left out. */
export function withQuery(path: string, query: Record<string, string | number | null | undefined>): string {
  const set = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") set.set(key, String(value));
  }
  const text = set.toString();
  return text === "" ? path : `${path}?${text}`;
}
