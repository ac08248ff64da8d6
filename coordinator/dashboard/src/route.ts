//! Where we are. The URL holds every filter and every selection, so that what one person
//! looks at can be pasted to another, and back and forward do what they say.

import { signal } from "@preact/signals";
import { withQuery } from "./api.ts";

export type Place = { path: string; query: URLSearchParams; hash: string };

const here = (): Place => ({
  path: location.pathname.replace(/(.)\/+$/, "$1"),
  query: new URLSearchParams(location.search),
  hash: location.hash,
});

export const place = signal<Place>({ path: "/", query: new URLSearchParams(), hash: "" });

/** Counts what a person would call another page; its heading takes the focus then. */
export const turned = signal(0);

export function startRouting(): void {
  place.value = here();
  addEventListener("popstate", () => arrive());
  addEventListener("click", follow);
}

export function go(href: string, how: "push" | "replace" = "push"): void {
  if (how === "push") history.pushState(null, "", href);
  else history.replaceState(null, "", href);
  const turnedPage = arrive();
  if (turnedPage) scrollTo(0, 0);
}

/** The same page with another query; what is null or empty is left out. */
export function hrefWith(changes: Record<string, string | number | null>): string {
  const { path, query } = place.value;
  return withQuery(path, { ...Object.fromEntries(query), ...changes });
}

/** A filter takes its step in the history; what one types does not, letter by letter. */
export const set = (changes: Record<string, string | number | null>, how: "push" | "replace" = "push"): void =>
  go(hrefWith(changes), how);

export const asked = (name: string): string => place.value.query.get(name) ?? "";

function arrive(): boolean {
  const before = place.value.path;
  place.value = here();
  if (place.value.path === before) return false;
  turned.value += 1;
  return true;
}

function follow(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = (event.target as Element | null)?.closest?.("a[href]");
  const href = link?.getAttribute("href");
  if (!href?.startsWith("/") || href.startsWith("/api/") || link?.hasAttribute("download")) return;
  event.preventDefault();
  go(href);
}
