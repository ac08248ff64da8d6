//! `/nodes`: the fleet as a table: to search, to filter, and for who cannot see the grid.

import { withQuery } from "../api.ts";
import { Answer } from "../parts/Answer.tsx";
import { Choice, Filters, Pager, Search } from "../parts/Filters.tsx";
import { NodeLink } from "../parts/Links.tsx";
import { HealthMark, PhaseMark } from "../parts/Mark.tsx";
import { Release } from "../parts/Release.tsx";
import { Table, type Column } from "../parts/Table.tsx";
import { Title } from "../parts/Title.tsx";
import { count } from "../format.ts";
import { asked } from "../route.ts";
import { names, useStatus } from "../status.ts";
import type { Node, NodePage } from "../types.ts";
import { CONNECTIONS, HEALTHS } from "../words.ts";
import { useSteadyView } from "../view.ts";

const PAGE = 50;

const COLUMNS: Column<Node>[] = [
  { head: "node", class: "node", cell: ({ node }) => <NodeLink node={node} /> },
  { head: "connection", cell: ({ connection }) => <HealthMark word={connection.state} /> },
  { head: "apps", class: "wide", cell: ({ apps }) => <Apps apps={apps} /> },
  { head: "environment", cell: ({ environments }) => environments.join(", ") },
  { head: "zone", class: "still", cell: ({ labels }) => labels.zone ?? "" },
  { head: "service", cell: ({ cordon, drained }) => <Service cordon={cordon} drained={drained} /> },
  { head: "platform", class: "desk", cell: ({ platform }) => platform },
];

export function NodesView() {
  const { environments } = names(useStatus().data);
  const query = Object.fromEntries(["q", "environment", "connection", "health", "select", "after"].map((name) => [name, asked(name)]));
  const seen = useSteadyView<NodePage>(withQuery("/nodes", { ...query, limit: PAGE }), { concerns: ({ node }) => node !== null });
  return (
    <>
      <div class="page-head"><Title text="Nodes">Nodes {seen.data !== null && <small class="muted">{count(seen.data.total)}</small>}</Title></div>
      <section class="card" aria-label="Nodes">
        <Filters>
          <Search name="q" label="search" wide />
          <Choice name="environment" label="environment" options={environments} />
          <Choice name="connection" label="connection" options={CONNECTIONS} />
          <Choice name="health" label="health" options={HEALTHS} />
          <Search name="select" label="labels, as zone=a" />
        </Filters>
        <Answer seen={seen} lines={12}>
          {({ items, next, total }) => (
            <>
              <Table caption="Nodes" columns={COLUMNS} rows={items} id={({ node }) => node} empty="No node is like that." stale={seen.stale} />
              <Pager next={next} shown={items.length} total={total} />
            </>
          )}
        </Answer>
      </section>
    </>
  );
}

function Apps({ apps }: Pick<Node, "apps">) {
  if (apps.length === 0) return <span class="muted">none</span>;
  return (
    <ul class="apps">
      {apps.map(({ app, current, health, phase }) => (
        <li key={app}><span>{app}</span> <Release of={current} /> {phase === null ? <HealthMark word={health} /> : <PhaseMark phase={phase} />}</li>
      ))}
    </ul>
  );
}

export function Service({ cordon, drained }: Pick<Node, "cordon" | "drained">) {
  if (drained === null && cordon === null) return <span class="muted">in service</span>;
  return <>{drained ?? "cordoned"}{cordon !== null && cordon !== "" && <small class="muted"> {cordon}</small>}</>;
}
