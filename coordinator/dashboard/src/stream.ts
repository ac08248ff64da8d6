//! The live line to the coordinator: opens it, opens it again, says whether it is open, and
//! hands on what came, once a frame however much it was.

import { signal } from "@preact/signals";
import { API } from "./api.ts";
import { backoff } from "./backoff.ts";
import { Reader, type Message } from "./sse.ts";
import type { Event } from "./types.ts";

export type Link =
  | { state: "connecting" }
  | { state: "live" }
  | { state: "lost"; heard: number; retry: number }
  | { state: "shut" };

/** `shut`: the coordinator wants a login first, and there is nothing to wait for. */
export const link = signal<Link>({ state: "connecting" });

export type Batch = { events: Event[]; missed: boolean };
type Listener = (batch: Batch) => void;

// The coordinator sends a comment every 15 s; whoever is silent for longer is not there.
const SILENT_MS = 20_000;
const QUIET_MS = 4_000;
// A hidden page needs to know that something happened, not at what second.
const HIDDEN_FLUSH_MS = 2_000;

// Who logs in wakes it; this is for who did so in another window.
const SHUT_MS = 60_000;

const listeners = new Set<Listener>();
let lastId: string | null = null;
let heard = Date.now();
let attempt = 0;
let current: AbortController | null = null;
let wake: (() => void) | null = null;
let waiting: Message[] = [];
let flushing = false;

export function listen(listener: Listener): void {
  listeners.add(listener);
}

export async function startStream(): Promise<never> {
  for (;;) {
    if (link.value.state === "shut") await pause(SHUT_MS);
    const opened = await follow();
    // An open line that breaks is tried again at once, and quietly: a coordinator that is
    // restarted is back before anybody reads a banner.
    if (opened) attempt = 0;
    const wait = opened ? Math.random() * 300 : backoff(attempt, Math.random());
    if (!opened) {
      attempt += 1;
      if (link.value.state !== "shut") link.value = { state: "lost", heard, retry: Date.now() + wait };
    }
    if (link.value.state !== "shut") await pause(wait);
  }
}

/** A view got no answer: a line that has been quiet may be dead, so it has to prove itself. One
 * that speaks is not, and the coordinator only slow. */
export function suspect(): void {
  if (link.value.state === "live" && Date.now() - heard > QUIET_MS) current?.abort();
}

/** Now, not later: somebody pressed the button, or has just logged in. */
export function reconnect(): void {
  attempt = 0;
  if (link.value.state === "shut") link.value = { state: "connecting" };
  wake?.();
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      wake = null;
      resolve();
    };
    const timer = setTimeout(done, ms);
    wake = done;
  });
}

/** Returns when the line is gone; true if it had been open. */
async function follow(): Promise<boolean> {
  const line = new AbortController();
  current = line;
  let silence = setTimeout(() => line.abort(), SILENT_MS / 4);
  let opened = false;
  try {
    const headers: Record<string, string> = { Accept: "text/event-stream" };
    if (lastId !== null) headers["Last-Event-ID"] = lastId;
    const answer = await fetch(`${API}/stream`, { headers, cache: "no-store", signal: line.signal });
    if (answer.status === 401) link.value = { state: "shut" };
    if (!answer.ok || answer.body === null) return false;
    opened = true;
    link.value = { state: "live" };
    // What is not an event (vitals, what a rollout waits for) went on without us.
    hand({ events: [], missed: true });
    const reader = new Reader();
    const chunks = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      heard = Date.now();
      clearTimeout(silence);
      silence = setTimeout(() => line.abort(), SILENT_MS);
      const { done, value } = await chunks.read();
      if (done) return opened;
      take(reader.feed(value));
    }
  } catch {
    return opened;
  } finally {
    clearTimeout(silence);
    line.abort();
  }
}

function take(messages: Message[]): void {
  if (messages.length === 0) return;
  waiting.push(...messages);
  if (flushing) return;
  flushing = true;
  if (document.hidden) setTimeout(flush, HIDDEN_FLUSH_MS);
  else requestAnimationFrame(flush);
}

function flush(): void {
  flushing = false;
  const messages = waiting;
  waiting = [];
  const batch: Batch = { events: [], missed: false };
  for (const message of messages) {
    if (message.id !== null) lastId = message.id;
    if (message.event === "event") batch.events.push(JSON.parse(message.data) as Event);
    else if (message.event === "missed") batch.missed = true;
  }
  hand(batch);
}

function hand(batch: Batch): void {
  for (const listener of listeners) listener(batch);
}
