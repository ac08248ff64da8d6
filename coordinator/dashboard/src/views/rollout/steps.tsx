//! The steps, by phase and wave.

import { withQuery } from "../../api.ts";
import { Answer } from "../../parts/Answer.tsx";
import { Choice, Filters, Pager } from "../../parts/Filters.tsx";
import { NodeLink } from "../../parts/Links.tsx";
import { HealthMark, PhaseMark } from "../../parts/Mark.tsx";
import { Release } from "../../parts/Release.tsx";
import { Table, type Column } from "../../parts/Table.tsx";
import { Age } from "../../parts/Time.tsx";
import { asked } from "../../route.ts";
import type { Event, Page, RolloutDetail, Step } from "../../types.ts";
import { PHASES } from "../../words.ts";
import { useSteadyView } from "../../view.ts";

const COLUMNS: Column<Step>[] = [
  { head: "node", class: "node", cell: ({ node }) => <NodeLink node={node} /> },
  { head: "wave", class: "n", cell: ({ wave }) => wave },
  { head: "phase", cell: ({ phase, unreachable }) => <><PhaseMark phase={phase} />{unreachable && <> <HealthMark word="unreachable" /></>}</> },
  { head: "for", class: "n", cell: ({ since }) => <Age at={since} /> },
  { head: "from", cell: ({ from }) => <Release of={from} /> },
];
const FAILURE: Column<Step> = { head: "failure", class: "wide", cell: ({ failure }) => failure?.message ?? "" };
const PAGE = 25;

export function Steps({ rollout, concerns }: { rollout: RolloutDetail; concerns: (event: Event) => boolean }) {
  const path = withQuery(`/rollouts/${rollout.number}/steps`, { wave: asked("wave"), phase: asked("phase"), after: asked("after"), limit: PAGE });
  const seen = useSteadyView<Page<Step>>(path, { concerns });
  return (
    <section class="card" id="steps" aria-labelledby="steps-head">
      <h2 id="steps-head">Steps</h2>
      <Filters>
        <Choice name="phase" label="phase" options={PHASES} />
        <Choice name="wave" label="wave" options={rollout.waves.map(({ wave }) => String(wave))} />
      </Filters>
      <Answer seen={seen} lines={10}>
        {({ items, next }) => (
          <>
            <Table caption={`Steps of rollout ${rollout.number}`} columns={items.some(({ failure }) => failure !== null) ? [...COLUMNS, FAILURE] : COLUMNS} rows={items} id={({ node }) => node} empty="No step is like that." stale={seen.stale} />
            <Pager next={next} shown={items.length} />
          </>
        )}
      </Answer>
    </section>
  );
}
