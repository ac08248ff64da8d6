//! The grid with its choices and its legend. What is chosen is in the URL.

import { useMemo } from "preact/hooks";
import { withQuery } from "../../api.ts";
import { Grid } from "../../grid/Grid.tsx";
import type { Grouping } from "../../grid/groups.ts";
import { BYS, kindsOf, type By, type Kinds } from "../../grid/kinds.ts";
import { Answer } from "../../parts/Answer.tsx";
import { Choice, Toggle } from "../../parts/Filters.tsx";
import { Glyph } from "../../parts/Mark.tsx";
import { count, spoken, version } from "../../format.ts";
import { asked, set } from "../../route.ts";
import { names } from "../../status.ts";
import type { Fleet, Status } from "../../types.ts";
import { useSteadyView } from "../../view.ts";

export function FleetGrid({ status }: { status: Status }) {
  const path = withQuery("/fleet", { environment: asked("environment"), app: asked("app") });
  const fleet = useSteadyView<Fleet>(path, { concerns: (event) => event.node !== null || event.rollout !== null });
  const { environments, apps } = names(status);
  return (
    <section class="card" aria-labelledby="grid">
      <h2 id="grid">Nodes {fleet.data !== null && <small class="muted">{about(fleet.data)}</small>}</h2>
      <Answer seen={fleet} lines={8}>
        {(data) => (data.nodes.length === 0 ? <NoNodes /> : <Cells fleet={data} environments={environments} apps={apps} />)}
      </Answer>
    </section>
  );
}

function Cells({ fleet, environments, apps }: { fleet: Fleet; environments: string[]; apps: string[] }) {
  const moving = fleet.rollout !== null;
  const by = BYS.find((one) => one === asked("by")) ?? (moving ? "phase" : "health");
  const grouping: Grouping = asked("group") === "zone" || (asked("group") === "" && fleet.waves === 0) ? "zone" : "wave";
  const kinds = useMemo(() => kindsOf(fleet, by), [fleet, by]);
  const only = kinds.kinds.findIndex(({ word }) => word === asked("only"));
  return (
    <>
      <div class="grid-tools">
        {environments.length > 1 && <Choice name="environment" label="environment" options={environments} all={asked("environment") === "" ? (fleet.environment ?? "all") : "where a rollout is"} />}
        {apps.length > 1 && <Choice name="app" label="app" options={apps} all={asked("app") === "" ? (fleet.app ?? "all") : "what a rollout is of"} />}
        <Toggle name="group" label="by" options={["wave", "zone"]} value={grouping} />
        <Toggle name="by" label="show" options={BYS} value={by} />
      </div>
      <Legend kinds={kinds} by={by} only={only} apart={fleet.flags.filter((flag) => flag !== 0).length} />
      <Grid fleet={fleet} kinds={kinds} grouping={grouping} only={only} selected={asked("node")} onSelect={(node) => set({ node }, "replace")} />
      <p class="grid-table"><a href={tableHref(fleet, by, asked("only"))}>The same nodes as a table</a></p>
    </>
  );
}

function Legend({ kinds, by, only, apart }: { kinds: Kinds; by: By; only: number; apart: number }) {
  return (
    <ul class="legend" aria-label={`Nodes by ${by}; press to see only those`}>
      {kinds.kinds.map(({ word, shape, colour }, i) => (
        (kinds.counts[i] ?? 0) > 0 && (
          <li key={word}>
            <button type="button" aria-pressed={i === only} onClick={() => set({ only: i === only ? null : word })}>
              <Glyph shape={shape} colour={colour} /> {by === "release" ? version(word) : spoken(word)} <b>{count(kinds.counts[i] ?? 0)}</b>
            </button>
          </li>
        )
      ))}
      {apart > 0 && <li class="legend-corner"><svg class="glyph" viewBox="0 0 12 12" aria-hidden="true"><path d="M1 1H11V11Z" fill="currentColor" /></svg> cordoned or drained <b>{count(apart)}</b></li>}
    </ul>
  );
}

const NoNodes = () => <p class="empty">No node is here yet. <code>fleetctl token create</code> makes a token with which one can join.</p>;

function about(fleet: Fleet): string {
  const of = [fleet.app, fleet.environment].filter((part) => part !== null).join(" in ");
  return fleet.rollout === null ? of : `${of}, as #${fleet.rollout} moves them`;
}

function tableHref(fleet: Fleet, by: By, only: string): string {
  const filter = (by === "health" || by === "connection") && only !== "" && only !== "unreachable" ? { [by]: only } : {};
  return withQuery("/nodes", { environment: fleet.environment, ...filter });
}
