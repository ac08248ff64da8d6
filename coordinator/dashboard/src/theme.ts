//! Light, dark, or as the system has it.

import { effect, signal } from "@preact/signals";
import { stored } from "./stored.ts";

export const THEMES = ["system", "light", "dark"] as const;
export const theme = stored("theme", THEMES, "system");

/** Changes whenever colours do: what is painted, and not styled, has to be painted again. */
export const colours = signal(0);

export function startTheme(): void {
  effect(() => {
    const { dataset } = document.documentElement;
    if (theme.value === "system") delete dataset.theme;
    else dataset.theme = theme.value;
    colours.value = colours.peek() + 1;
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (colours.value += 1));
}

export function nextTheme(): void {
  const at = THEMES.indexOf(theme.value);
  theme.value = THEMES[(at + 1) % THEMES.length] ?? "system";
}
