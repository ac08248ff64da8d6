//! What each environment wants and has, one line an app.

import { count, percent, version } from "../../format.ts";
import { Release } from "../../parts/Release.tsx";
import { Table, type Column } from "../../parts/Table.tsx";
import type { Environment, EnvironmentApp } from "../../types.ts";

type Row = EnvironmentApp & { environment: string; first: boolean };

const number = (n: number, tone = "") => <span class={n === 0 ? "zero" : tone}>{count(n)}</span>;

const COLUMNS: Column<Row>[] = [
  { head: "environment", cell: (row) => <b class={row.first ? undefined : "again"}>{row.environment}</b> },
  { head: "app", cell: (row) => row.app },
  { head: "desired release", cell: (row) => <Release of={row.desired} /> },
  { head: "nodes", class: "n", cell: (row) => count(row.nodes) },
  { head: "healthy", class: "n", cell: (row) => <>{count(row.healthy)} <small class="muted">{percent(row.healthy, row.nodes)}</small></> },
  { head: "unavailable", class: "n", cell: (row) => number(row.unavailable, "tone-bad") },
  { head: "behind", class: "n", cell: (row) => number(row.behind, "tone-warn") },
  { head: "versions", class: "versions-cell", cell: (row) => <Versions row={row} /> },
];

export function Environments({ environments }: { environments: readonly Environment[] }) {
  const rows = environments.flatMap(({ environment, apps }) => apps.map((app, i) => ({ ...app, environment, first: i === 0 })));
  return (
    <section class="card" aria-labelledby="environments">
      <h2 id="environments">Environments</h2>
      <Table
        caption="Each environment and app" columns={COLUMNS} rows={rows} id={(row) => `${row.environment} ${row.app}`}
        empty={environments.length === 0 ? "No environment is defined yet." : "No release has been brought anywhere yet."}
      />
    </section>
  );
}

const LOOKS = 7;

function Versions({ row }: { row: Row }) {
  const versions = Object.entries(row.versions).sort(([, a], [, b]) => b - a);
  return (
    <span class="versions">
      <span class="bar thin" aria-hidden="true">
        {versions.map(([ref, n], i) => <span key={ref} class={`part r-${ref === row.desired ? 0 : 1 + (i % LOOKS)}`} style={{ flexGrow: n }} />)}
      </span>
      <span class="versions-told">{versions.map(([ref, n]) => <span key={ref} title={ref}>{version(ref)} <b>{count(n)}</b></span>)}</span>
    </span>
  );
}
