//! `/releases`: what could be brought, what is, and what is known to be bad where.

import { withQuery } from "../api.ts";
import { Answer } from "../parts/Answer.tsx";
import { Choice, Filters, Pager } from "../parts/Filters.tsx";
import { RolloutLink } from "../parts/Links.tsx";
import { Release } from "../parts/Release.tsx";
import { Table, type Column } from "../parts/Table.tsx";
import { Ago } from "../parts/Time.tsx";
import { Title } from "../parts/Title.tsx";
import { count, counted } from "../format.ts";
import { asked } from "../route.ts";
import { names, useStatus } from "../status.ts";
import type { Page, Release as One } from "../types.ts";
import { useSteadyView } from "../view.ts";

const COLUMNS: Column<One>[] = [
  { head: "app", cell: ({ app }) => app },
  { head: "release", cell: ({ release }) => <Release of={release} /> },
  { head: "runs on", class: "n", cell: ({ runs_on: n }) => <span class={n === 0 ? "zero" : undefined}>{n === 0 ? "no node" : counted(n, "node")}</span> },
  { head: "desired in", cell: ({ desired_in: where }) => where.join(", ") || <span class="muted">none</span> },
  { head: "known bad", class: "wide", cell: ({ known_bad: bad }) => <ul class="plain">{bad.map(({ environment, rollout, why }) => <li key={environment}><span class="tone-bad">in {environment}</span> <RolloutLink number={rollout} />: {why}</li>)}</ul> },
  { head: "components", cell: ({ components }) => components.join(", ") },
  { head: "signed by", class: "desk still", cell: ({ signed_by: keys }) => keys.join(", ") },
  { head: "counter", class: "n", cell: ({ counter }) => count(counter) },
  { head: "pushed", class: "pushed", cell: ({ pushed_at, by }) => <><Ago at={pushed_at} /> <small class="muted">by {by}</small></> },
];

export function ReleasesView() {
  const { apps } = names(useStatus().data);
  const seen = useSteadyView<Page<One>>(withQuery("/releases", { app: asked("app"), after: asked("after"), limit: 40 }));
  return (
    <>
      <div class="page-head"><Title text="Releases" /></div>
      <section class="card" aria-label="Releases">
        <Filters><Choice name="app" label="app" options={apps} /></Filters>
        <Answer seen={seen} lines={8}>
          {({ items, next }) => (
            <>
              <Table caption="Releases, newest first" columns={COLUMNS} rows={items} id={({ app, release }) => app + release} empty="No release has been pushed yet." stale={seen.stale} />
              <Pager next={next} shown={items.length} />
            </>
          )}
        </Answer>
      </section>
    </>
  );
}
