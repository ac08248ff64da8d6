//! The views that are on screen, kept fresh. A view is asked for again when an event says
//! that it may have changed, at most once a second, and once in a while without one, because
//! vitals and what a rollout waits for are not events.

import { signal, type Signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { read, Refused } from "./api.ts";
import { link, listen, suspect, type Batch } from "./stream.ts";
import type { Event, Problem } from "./types.ts";

export type Seen<T> = {
  data: T | null;
  problem: Problem | null;
  /** When it was last known to be so, by this machine's clock. */
  at: number | null;
};

export type Freshness = {
  /** Asked for again after this long without an event. */
  every?: number;
  /** Which events may change it; without, every one. */
  concerns?: (event: Event) => boolean;
};

// At most once a second, as 500 events a second must not become 500 answers, and slower where
// an answer is so large that reading it would take a tenth of the time.
const SOONEST_MS = 1_000;
const COST_SHARE = 10;
const EVERY_MS = 15_000;
const HIDDEN_SOONEST_MS = 10_000;
const HIDDEN_EVERY_MS = 60_000;
const OVERDUE_MS = 15_000;
// Enough that back and forward show something at once.
const KEPT = 24;

class Entry {
  readonly seen = signal<Seen<unknown>>({ data: null, problem: null, at: null });
  watchers = 0;
  dirty = true;
  asking = false;
  asked = 0;
  cost = 0;
  etag: string | null = null;
  freshness: Freshness = {};

  constructor(readonly path: string) {}

  due(now: number, hidden: boolean): boolean {
    if (!started || this.watchers === 0 || this.asking) return false;
    const soonest = Math.max(hidden ? HIDDEN_SOONEST_MS : SOONEST_MS, this.cost * COST_SHARE);
    const every = hidden ? HIDDEN_EVERY_MS : (this.freshness.every ?? EVERY_MS);
    return now - this.asked >= (this.dirty ? soonest : every);
  }
}

// Who has to log in first would only get refusals: nothing is asked for before that is known.
let started = false;
// Since when somebody has been looking: a page that was hidden catches up first.
let seenSince = Date.now();
const entries = new Map<string, Entry>();

/** What the coordinator says under this path, for as long as the component is on screen. */
export function useView<T>(path: string | null, freshness: Freshness = {}): Seen<T> {
  const entry = path === null ? null : entryOf(path);
  if (entry !== null) entry.freshness = freshness;
  useEffect(() => {
    if (entry === null) return;
    entry.watchers += 1;
    entry.dirty = true;
    if (entry.due(Date.now(), document.hidden)) void ask(entry);
    return () => {
      entry.watchers -= 1;
      forgetOld();
    };
  }, [entry]);
  return (entry === null ? nothing : (entry.seen as Signal<Seen<T>>).value) as Seen<T>;
}

/** The same, but what another path said stays until this one has answered: no flash on paging. */
export function useSteadyView<T>(path: string, freshness: Freshness = {}): Seen<T> & { stale: boolean } {
  const seen = useView<T>(path, freshness);
  const [last, keep] = useState<T | null>(null);
  useEffect(() => {
    if (seen.data !== null) keep(() => seen.data);
  }, [seen.data]);
  return { ...seen, data: seen.data ?? last, stale: seen.data === null && last !== null };
}

const nothing: Seen<never> = { data: null, problem: null, at: null };

function entryOf(path: string): Entry {
  const known = entries.get(path);
  if (known !== undefined) {
    entries.delete(path);
    entries.set(path, known);
    return known;
  }
  const entry = new Entry(path);
  entries.set(path, entry);
  return entry;
}

function forgetOld(): void {
  for (const [path, entry] of entries) {
    if (entries.size <= KEPT) return;
    if (entry.watchers === 0) entries.delete(path);
  }
}

async function ask(entry: Entry): Promise<void> {
  entry.asking = true;
  entry.dirty = false;
  entry.asked = Date.now();
  try {
    const answer = await read<unknown>(entry.path, entry.etag);
    const at = Date.now();
    entry.cost = at - entry.asked;
    const { data, problem } = entry.seen.peek();
    if (!answer.same) {
      entry.etag = answer.etag;
      entry.seen.value = { data: answer.data, problem: null, at };
    } else if (problem !== null) entry.seen.value = { data, problem: null, at };
    // The same as before is no reason to draw anything again, only to know that it still holds.
    else entry.seen.peek().at = at;
  } catch (error) {
    if (error instanceof Refused) {
      const { data, at } = entry.seen.peek();
      // Who may not read any more does not go on seeing what they read before.
      const kept = error.problem.status >= 500 ? data : null;
      entry.etag = kept === null ? null : entry.etag;
      entry.seen.value = { data: kept, problem: error.problem, at };
    } else {
      entry.dirty = true;
      suspect();
    }
  } finally {
    entry.asking = false;
  }
}

/** What an act answered is newer than what we had. */
export function put(path: string, data: unknown): void {
  const entry = entries.get(path);
  if (entry === undefined) return;
  entry.etag = null;
  entry.dirty = true;
  entry.seen.value = { data, problem: null, at: Date.now() };
}

/** Everything on screen may have changed. */
export function refresh(): void {
  for (const entry of entries.values()) entry.dirty = true;
}

/** Nobody else's data stays behind: after a login or a logout. */
export function forgetAll(): void {
  for (const entry of entries.values()) {
    entry.etag = null;
    entry.seen.value = nothing;
    entry.dirty = true;
    entry.asked = 0;
  }
}

/** When the oldest of what is on screen was last known to be so. */
export function shownSince(): number | null {
  let oldest: number | null = null;
  for (const { watchers, seen } of entries.values()) {
    const at = seen.peek().at;
    if (watchers > 0 && at !== null && (oldest === null || at < oldest)) oldest = at;
  }
  return oldest;
}

/** When the oldest of what should long have been confirmed was last known to be so: the line is
 * open, and still the coordinator does not answer for some of what is shown. */
export function overdueSince(now: number): number | null {
  if (document.hidden || now - seenSince < OVERDUE_MS) return null;
  let oldest: number | null = null;
  for (const { watchers, seen, freshness } of entries.values()) {
    const at = seen.peek().at;
    if (watchers === 0 || at === null || now - at < (freshness.every ?? EVERY_MS) + OVERDUE_MS) continue;
    if (oldest === null || at < oldest) oldest = at;
  }
  return oldest;
}

function taint({ events, missed }: Batch): void {
  for (const entry of entries.values()) {
    if (entry.dirty || entry.watchers === 0) continue;
    const { concerns } = entry.freshness;
    entry.dirty = missed || (concerns === undefined ? events.length > 0 : events.some(concerns));
  }
}

export function startViews(): void {
  started = true;
  seenSince = Date.now();
  listen(taint);
  const pump = () => {
    // While the line is lost, its own tries are the only ones: 20 views that time out one
    // after another help nobody.
    if (link.value.state !== "lost" && link.value.state !== "shut") {
      const now = Date.now();
      for (const entry of entries.values()) if (entry.due(now, document.hidden)) void ask(entry);
    }
    setTimeout(pump, 250);
  };
  pump();
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    seenSince = Date.now();
    refresh();
  });
}
