//! Filters live in the URL. One that changes goes back to the first page.

import type { ComponentChildren } from "preact";
import { asked, hrefWith, set } from "../route.ts";

const FROM_START = { after: null };

export function Filters({ children }: { children: ComponentChildren }) {
  return <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>{children}</form>;
}

export function Choice({ name, label, options, all = "all" }: { name: string; label: string; options: readonly string[]; all?: string }) {
  const value = asked(name);
  // What is in the URL is shown even where it is no longer one of the options.
  const shown = value === "" || options.includes(value) ? options : [value, ...options];
  return (
    <label>
      {label}
      <select value={value} onChange={(event) => set({ [name]: event.currentTarget.value, ...FROM_START })}>
        <option value="">{all}</option>
        {shown.map((option) => <option key={option} value={option}>{option}</option>)}
      </select>
    </label>
  );
}

export function Search({ name, label, wide = false }: { name: string; label: string; wide?: boolean }) {
  return (
    <label class={wide ? "wide" : undefined}>
      {label}
      <input
        type="search" value={asked(name)} data-search={wide} autocomplete="off" spellcheck={false}
        onInput={(event) => set({ [name]: event.currentTarget.value, ...FROM_START }, "replace")}
      />
    </label>
  );
}

/** A few words of which one holds. */
export function Toggle({ name, label, options, value }: { name: string; label: string; options: readonly string[]; value: string }) {
  return (
    <div class="toggle" role="group" aria-label={label}>
      <span>{label}</span>
      {options.map((option) => (
        <button key={option} type="button" aria-pressed={option === value} onClick={() => set({ [name]: option, only: null })}>{option}</button>
      ))}
    </div>
  );
}

export function Pager({ next, shown, total }: { next: string | null; shown: number; total?: number }) {
  const later = asked("after") !== "";
  if (next === null && !later && total === undefined) return null;
  return (
    <nav class="pager" aria-label="More of this list">
      {total !== undefined && <span>{shown} of {total}</span>}
      {later && <a href={hrefWith(FROM_START)}>First page</a>}
      {next !== null && <a href={hrefWith({ after: next })}>Next page</a>}
    </nav>
  );
}
