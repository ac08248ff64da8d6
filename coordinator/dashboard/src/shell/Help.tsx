//! The keys, and what they do. They can be turned off: who dictates speaks letters too.

import { signal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { go } from "../route.ts";
import { stored } from "../stored.ts";
import { nextTheme } from "../theme.ts";

export const help = signal(false);
const shortcuts = stored("shortcuts", ["on", "off"], "on");

const PLACES: Record<string, string> = { f: "/", r: "/rollouts", n: "/nodes", l: "/releases", e: "/events", s: "/session" };
const KEYS: [keys: string, does: string][] = [
  ["g f", "the fleet"], ["g r", "rollouts"], ["g n", "nodes"], ["g l", "releases"], ["g e", "events"], ["g s", "who I am"],
  ["/", "search"], ["t", "theme"], ["?", "this list"],
  ["← ↑ → ↓", "on the grid: from node to node"], ["Enter", "on the grid: select the node"], ["Esc", "on the grid: select none"],
];
// How long `g` waits for what comes after it.
const SECOND_KEY_MS = 1_200;

export function startShortcuts(): void {
  let since = 0;
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || shortcuts.value === "off") return;
    if (event.target instanceof Element && event.target.closest("input, select, textarea, dialog") !== null) return;
    const second = Date.now() - since < SECOND_KEY_MS;
    since = event.key === "g" ? Date.now() : 0;
    const href = second ? PLACES[event.key] : undefined;
    if (href !== undefined) go(href);
    else if (event.key === "?") help.value = true;
    else if (event.key === "t") nextTheme();
    else if (event.key === "/") document.querySelector<HTMLElement>("[data-search=true]")?.focus();
    else return;
    event.preventDefault();
  });
}

export function Help() {
  const dialog = useRef<HTMLDialogElement>(null);
  const open = help.value;
  useLayoutEffect(() => {
    if (open) dialog.current?.showModal();
  }, [open]);
  if (!open) return null;
  return (
    <dialog ref={dialog} aria-labelledby="help-title" onClose={() => (help.value = false)}>
      <h2 id="help-title">Keys</h2>
      <dl class="keys">{KEYS.map(([keys, does]) => <div key={keys}><dt>{keys.split(" ").map((key) => <kbd key={key}>{key}</kbd>)}</dt><dd>{does}</dd></div>)}</dl>
      <label class="check"><input type="checkbox" checked={shortcuts.value === "on"} onChange={(event) => (shortcuts.value = event.currentTarget.checked ? "on" : "off")} /> Single keys are shortcuts</label>
      <div class="buttons"><button type="button" onClick={() => dialog.current?.close()}>Close</button></div>
    </dialog>
  );
}
