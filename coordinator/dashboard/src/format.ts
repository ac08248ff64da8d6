//! Numbers, times and names as people read them. Pure.

import type { Ms, Phases, Phase, Ref } from "./types.ts";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** How long, with at most two units: `8 s`, `3 min 12 s`, `2 h 5 min`, `4 d 1 h`. */
export function duration(ms: Ms): string {
  const whole = Math.max(0, ms);
  if (whole < MINUTE) return `${Math.floor(whole / SECOND)} s`;
  if (whole < HOUR) return pair(whole, MINUTE, "min", SECOND, "s");
  if (whole < DAY) return pair(whole, HOUR, "h", MINUTE, "min");
  return pair(whole, DAY, "d", HOUR, "h");
}

function pair(ms: Ms, big: Ms, bigName: string, small: Ms, smallName: string): string {
  const rest = Math.floor((ms % big) / small);
  const head = `${Math.floor(ms / big)} ${bigName}`;
  return rest === 0 ? head : `${head} ${rest} ${smallName}`;
}

/** How long ago, with one unit: coarse on purpose, so that it stays still. */
export function age(at: Ms, now: Ms): string {
  const ms = Math.max(0, now - at);
  if (ms < MINUTE) return `${Math.floor(ms / SECOND)} s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)} min`;
  if (ms < 2 * DAY) return `${Math.floor(ms / HOUR)} h`;
  return `${Math.floor(ms / DAY)} d`;
}

/** What is left, as a clock that counts down: `4:07`, `1:02:09`. Never below zero. */
export function countdown(until: Ms, now: Ms): string {
  const seconds = Math.max(0, Math.ceil((until - now) / SECOND));
  const two = (n: number) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** With a narrow space between thousands, as neither a comma nor a point means the same everywhere. */
export function count(n: number): string {
  return String(n).replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
}

export function counted(n: number, noun: string): string {
  return `${count(n)} ${noun}${n === 1 ? "" : "s"}`;
}

export function bytes(n: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let left = n;
  while (left >= 1024 && unit < units.length - 1) {
    left /= 1024;
    unit += 1;
  }
  return `${left >= 100 || unit === 0 ? Math.round(left) : left.toFixed(1)} ${units[unit]}`;
}

/** Whole percents that say 100 only when nothing is missing and 0 only when nothing is there. */
export function percent(part: number, whole: number): string {
  return `${wholePercent(part, whole)} %`;
}

export function wholePercent(part: number, whole: number): number {
  if (whole <= 0 || part <= 0) return 0;
  if (part >= whole) return 100;
  return Math.min(99, Math.max(1, Math.round((part * 100) / whole)));
}

export function figure(value: number, unit: "percent" | "ms" | "count"): string {
  const rounded = Math.abs(value) >= 100 ? Math.round(value) : Math.round(value * 10) / 10;
  return unit === "percent" ? `${rounded} %` : unit === "ms" ? `${rounded} ms` : String(rounded);
}

/** `v1.2.0@3f2a` → `v1.2.0`. */
export function version(release: Ref): string {
  return release.split("@", 1)[0] ?? release;
}

/** The part after the version, empty where there is none. */
export function digest(release: Ref): string {
  return release.slice(version(release).length);
}

export const phase = (phases: Phases, name: Phase): number => phases[name] ?? 0;

/** `rolling-back` → `rolling back`. */
export const spoken = (word: string): string => word.replaceAll("-", " ");

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const dayOfYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });

/** In the viewer's zone; the day is named when it is not today. */
export function localTime(at: Ms, now: Ms): string {
  const [then, today] = [new Date(at), new Date(now)];
  if (then.toDateString() === today.toDateString()) return clock.format(then);
  const named = then.getFullYear() === today.getFullYear() ? day : dayOfYear;
  return `${named.format(then)} ${clock.format(then)}`;
}

export const utc = (at: Ms): string => `${new Date(at).toISOString().replace("T", " ").replace(/\.\d+Z$/, "")} UTC`;

/** For a shell, quoted only where it has to be. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
