//! The head of every page: where one can go, whether what one sees is live, who one is.

import { place } from "../route.ts";
import { session } from "../session.ts";
import { link } from "../stream.ts";
import { nextTheme, theme } from "../theme.ts";
import { help } from "./Help.tsx";

const PLACES: [href: string, name: string][] = [
  ["/", "Fleet"], ["/rollouts", "Rollouts"], ["/nodes", "Nodes"], ["/releases", "Releases"], ["/events", "Events"],
];

const THEME_MARKS = { system: "M8 2a6 6 0 0 1 0 12z", light: "M8 5a3 3 0 1 0 0 6a3 3 0 1 0 0-6z", dark: "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12z" };

export function Top() {
  const { path } = place.value;
  const isHere = (href: string) => (href === "/" ? path === "/" : path === href || path.startsWith(`${href}/`));
  return (
    <header class="top">
      <a class="brand" href="/" aria-label="Fleet, the start page">
        <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M2 14h4v8H2zM10 8h4v14h-4zM18 2h4v20h-4z" fill="currentColor" /></svg>
      </a>
      <nav aria-label="Pages">
        {PLACES.map(([href, name]) => <a key={href} href={href} aria-current={isHere(href) ? "page" : undefined}>{name}</a>)}
      </nav>
      <div class="top-end">
        <Pulse />
        <a class="who" href="/session">{session.value?.operator ?? "log in"}</a>
        <button type="button" class="quiet" onClick={nextTheme} aria-label={`Theme: ${theme.value}. Change it.`} title={`Theme: ${theme.value} (t)`}>
          <svg class="theme" viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="6.2" fill="none" stroke="currentColor" stroke-width="1.6" /><path d={THEME_MARKS[theme.value]} fill="currentColor" /></svg>
        </button>
        <button type="button" class="quiet" onClick={() => (help.value = true)} aria-label="Keys" title="Keys (?)">?</button>
      </div>
    </header>
  );
}

function Pulse() {
  const { state } = link.value;
  const word = state === "live" ? "live" : state === "lost" ? "no contact" : state === "shut" ? "not logged in" : "connecting";
  return <span class={`pulse ${state}`} role="status"><i aria-hidden="true" />{word}</span>;
}
