//! `/nodes/n0001`: one node: what it is, what it runs, and what happened to it.

import type { ComponentChildren } from "preact";
import { Answer } from "../parts/Answer.tsx";
import { EventList } from "../parts/EventList.tsx";
import { RolloutLink, breakable } from "../parts/Links.tsx";
import { HealthMark, PhaseMark } from "../parts/Mark.tsx";
import { Release } from "../parts/Release.tsx";
import { Table, type Column } from "../parts/Table.tsx";
import { Ago } from "../parts/Time.tsx";
import { Title } from "../parts/Title.tsx";
import { bytes } from "../format.ts";
import type { Event, Facts, Node, NodeApp, Page, Vitals } from "../types.ts";
import { useView } from "../view.ts";
import { Pairs } from "./rollout/about.tsx";
import { Service } from "./nodes.tsx";

const APPS: Column<NodeApp>[] = [
  { head: "app", cell: ({ app }) => <b>{app}</b> },
  { head: "current", cell: ({ current }) => <Release of={current} /> },
  { head: "last good", cell: ({ last_good }) => <Release of={last_good} /> },
  { head: "health", cell: ({ health }) => <HealthMark word={health} /> },
  { head: "step", cell: ({ phase, rollout }) => (phase === null ? <span class="muted">none</span> : <><PhaseMark phase={phase} /> {rollout !== null && <RolloutLink number={rollout} />}</>) },
  { head: "why", class: "wide", cell: ({ why }) => why ?? "" },
];

export function NodeView({ id }: { id: string }) {
  const concerns = ({ node }: Event) => node === id;
  // Vitals come with heartbeats, which are not events.
  const seen = useView<Node>(`/nodes/${encodeURIComponent(id)}`, { concerns, every: 5_000 });
  const events = useView<Page<Event>>(`/events?node=${encodeURIComponent(id)}&order=newest&limit=20`, { concerns });
  return (
    <>
      <div class="page-head">
        <Title text={id}>{breakable(id)}</Title>
        {seen.data !== null && <p class="node-state"><HealthMark word={seen.data.connection.state} /> {seen.data.connection.since !== null && <span class="muted"><Ago at={seen.data.connection.since} /></span>}</p>}
      </div>
      <Answer seen={seen} lines={10}>
        {(node) => (
          <div class="split">
            <div>
              <section class="card" aria-labelledby="apps">
                <h2 id="apps">Apps</h2>
                <Table caption={`Apps on ${id}`} columns={APPS} rows={node.apps} id={({ app }) => app} empty="It runs no app." />
              </section>
              <section class="card" aria-labelledby="events">
                <h2 id="events">Events <a class="more" href={`/events?node=${encodeURIComponent(id)}`}>all</a></h2>
                <Answer seen={events} lines={8}>{({ items }) => <EventList events={items} empty="Nothing has happened to it yet." />}</Answer>
              </section>
            </div>
            <div>
              <VitalsNow vitals={node.vitals} facts={node.facts} />
              <Identity node={node} />
              {node.facts !== null && <FactsTold facts={node.facts} />}
            </div>
          </div>
        )}
      </Answer>
    </>
  );
}

function VitalsNow({ vitals, facts }: { vitals: Vitals | null; facts: Facts | null }) {
  return (
    <section class="card" aria-labelledby="vitals">
      <h2 id="vitals">Vitals</h2>
      {vitals === null ? <p class="empty">None: it is not connected.</p> : (
        <>
          <Gauge name="CPU" percent={vitals.cpu_percent} />
          <Gauge name="memory" percent={vitals.memory_percent} />
          {facts !== null && <Gauge name="disk" percent={100 - (vitals.disk_free * 100) / facts.disk} told={`${bytes(vitals.disk_free)} free`} />}
          <h3>Releases on its disk</h3>
          <ul class="plain">{vitals.releases.map(({ app, release }) => <li key={app + release}>{app} <Release of={release} /></li>)}</ul>
        </>
      )}
    </section>
  );
}

// What the health checks take for too much by default.
const HIGH_PERCENT = 90;

function Gauge({ name, percent, told = `${Math.round(percent)} %` }: { name: string; percent: number; told?: string }) {
  return (
    <p class="gauge">
      <span>{name}</span>
      <span class="bar thin" aria-hidden="true"><span class={`part ${percent > HIGH_PERCENT ? "p-failed" : "p-done"}`} style={{ flexGrow: percent }} /><span class="part p-pending" style={{ flexGrow: Math.max(0, 100 - percent) }} /></span>
      <b>{told}</b>
    </p>
  );
}

function Identity({ node }: { node: Node }) {
  const pairs: [string, ComponentChildren][] = [
    ["environment", node.environments.join(", ") || "none"],
    ["labels", <span class="labels">{Object.entries(node.labels).map(([key, value]) => <code key={key}>{key}={value}</code>)}</span>],
    ["service", <Service cordon={node.cordon} drained={node.drained} />],
    ["agent", node.agent_version ?? "not known"],
    ["platform", node.platform],
    ["enrolled", <Ago at={node.enrolled_at} />],
  ];
  return <section class="card" aria-labelledby="identity"><h2 id="identity">Identity</h2><Pairs pairs={pairs} /></section>;
}

function FactsTold({ facts }: { facts: Facts }) {
  const pairs: [string, ComponentChildren][] = [
    ["hostname", breakable(facts.hostname)],
    ["kernel", facts.kernel],
    ["CPUs", facts.cpus],
    ["memory", bytes(facts.memory)],
    ["disk", bytes(facts.disk)],
    ["booted", <Ago at={facts.booted_at} />],
  ];
  return <section class="card" aria-labelledby="facts"><h2 id="facts">Facts <small class="muted">as it says itself</small></h2><Pairs pairs={pairs} /></section>;
}
