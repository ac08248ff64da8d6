//! Times. All of them hang on the one clock; only the text that changed is written.

import { useComputed } from "@preact/signals";
import { now } from "../clock.ts";
import { age, countdown, duration, localTime, utc } from "../format.ts";
import type { Ms } from "../types.ts";

const iso = (at: Ms) => new Date(at).toISOString();
const title = (at: Ms) => `${new Date(at).toLocaleString()} · ${utc(at)}`;

/** `3 min ago`. */
export function Ago({ at }: { at: Ms }) {
  return <Live key={at} at={at} text={() => `${age(at, now.value)} ago`} />;
}

/** `3 min`, for a column whose head says what it is. */
export function Age({ at }: { at: Ms }) {
  return <Live key={at} at={at} text={() => age(at, now.value)} />;
}

/** The clock time, and the day if it was another. */
export function When({ at }: { at: Ms }) {
  return <Live key={at} at={at} text={() => localTime(at, now.value)} />;
}

/** How long it took, or takes so far. */
export function Took({ from, to }: { from: Ms; to: Ms | null }) {
  return <Live key={`${from} ${to}`} at={to ?? from} text={() => duration((to ?? now.value) - from)} />;
}

export function Countdown({ until }: { until: Ms }) {
  return <Live key={until} at={until} class="countdown" text={() => countdown(until, now.value)} />;
}

function Live({ at, text, ...rest }: { at: Ms; text: () => string; class?: string }) {
  const told = useComputed(text);
  return <time dateTime={iso(at)} title={title(at)} {...rest}>{told}</time>;
}
