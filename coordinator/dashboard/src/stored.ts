//! What this browser remembers: the theme, and whether single keys are shortcuts. A browser
//! that may not remember loses nothing but that.

import { signal, type Signal } from "@preact/signals";

export function stored<T extends string>(name: string, allowed: readonly T[], otherwise: T): Signal<T> {
  const value = signal<T>(allowed.find((word) => word === recall(name)) ?? otherwise);
  value.subscribe((word) => remember(name, word));
  return value;
}

function recall(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function remember(name: string, value: string): void {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Private windows and full disks: it holds until the page is left.
  }
}
