//! `/rollouts/compare?a=41&b=42`: two rollouts side by side, and where they differ.

import type { ComponentChildren } from "preact";
import { ProblemNote, Skeleton } from "../parts/Answer.tsx";
import { RolloutLink } from "../parts/Links.tsx";
import { StateBadge } from "../parts/Mark.tsx";
import { PhaseBar } from "../parts/PhaseBar.tsx";
import { Release } from "../parts/Release.tsx";
import { Took, When } from "../parts/Time.tsx";
import { Title } from "../parts/Title.tsx";
import { grouped } from "../failures.ts";
import { counted, duration } from "../format.ts";
import { asked } from "../route.ts";
import type { RolloutDetail } from "../types.ts";
import { useView } from "../view.ts";
import { said } from "./rollout/about.tsx";

/** `plain` decides whether the two differ; `show` is what one sees. */
type Line = { name: string; plain: (of: RolloutDetail) => string; show?: (of: RolloutDetail) => ComponentChildren; times?: boolean };

export function CompareView() {
  const [a, b] = [asked("a"), asked("b")];
  const first = useView<RolloutDetail>(a === "" ? null : `/rollouts/${a}`);
  const second = useView<RolloutDetail>(b === "" ? null : `/rollouts/${b}`);
  return (
    <>
      <div class="page-head"><Title text={a === "" || b === "" ? "Compare" : `#${a} and #${b}`} /></div>
      {(a === "" || b === "") && <p class="empty">Choose two rollouts on <a href="/rollouts">their page</a>.</p>}
      {first.problem !== null && <ProblemNote problem={first.problem} />}
      {second.problem !== null && <ProblemNote problem={second.problem} />}
      {first.data !== null && second.data !== null ? <Both a={first.data} b={second.data} /> : a !== "" && b !== "" && !first.problem && !second.problem && <Skeleton lines={12} />}
    </>
  );
}

const LINES: Line[] = [
  { name: "state", plain: ({ state }) => state, show: ({ state }) => <StateBadge state={state} /> },
  { name: "why", plain: ({ why }) => why ?? "" },
  { name: "app", plain: ({ app }) => app },
  { name: "environment", plain: ({ environment }) => environment },
  { name: "release", plain: ({ release }) => release ?? "last good", show: ({ release }) => <Release of={release} none="each node's last good" /> },
  { name: "kind", plain: ({ kind }) => kind },
  { name: "by", plain: ({ by }) => by, show: ({ by }) => by },
  { name: "reason", plain: ({ reason }) => reason ?? "" },
  { name: "started", plain: () => "", show: ({ started_at }) => <When at={started_at} /> },
  { name: "took", plain: (of) => duration((of.ended_at ?? 0) - of.started_at), show: (of) => <Took from={of.started_at} to={of.ended_at} /> },
  { name: "nodes", plain: ({ nodes }) => String(nodes) },
  { name: "steps", plain: ({ phases }) => JSON.stringify(phases), show: ({ phases, nodes }) => <><PhaseBar phases={phases} nodes={nodes} thin /> <small>{Object.entries(phases).map(([phase, n]) => `${n} ${phase}`).join(", ")}</small></> },
  { name: "unreachable", plain: ({ unreachable }) => String(unreachable) },
  { name: "failures", plain: (of) => failures(of).join("\n"), show: (of) => (of.failures_total === 0 ? "none" : <ul class="plain">{failures(of).map((told) => <li key={told}>{told}</li>)}</ul>) },
  { name: "left out", plain: ({ left_out_total: n }) => (n === 0 ? "none" : counted(n, "node")) },
  { name: "rollback", plain: ({ rollback }) => String(rollback), show: ({ rollback }) => (rollback === null ? "none" : <RolloutLink number={rollback} />) },
];

const failures = (of: RolloutDetail) => grouped(of.failures).map(({ message, steps }) => `${counted(steps.length, "node")}: ${message}`);

function Both({ a, b }: { a: RolloutDetail; b: RolloutDetail }) {
  const waves = Array.from({ length: Math.max(a.waves.length, b.waves.length) }, (_, i): Line => ({
    name: `wave ${i + 1}`,
    plain: (of) => waveTold(of, i),
    show: (of) => <Wave of={of} index={i} />,
  }));
  const strategy = [...new Set([...Object.keys(a.strategy), ...Object.keys(b.strategy)])].map((key): Line => ({
    name: key.replaceAll("_", " "), plain: (of) => said(of.strategy[key]),
  }));
  return (
    <section class="card compare" aria-label="Side by side">
      <table>
        <thead>
          <tr><td /><th scope="col"><RolloutLink number={a.number} /></th><th scope="col"><RolloutLink number={b.number} /></th></tr>
        </thead>
        <Part title="The rollouts" lines={LINES} a={a} b={b} />
        <Part title="Waves" lines={waves} a={a} b={b} />
        <Part title="Strategy" lines={strategy} a={a} b={b} />
      </table>
    </section>
  );
}

function Part({ title, lines, a, b }: { title: string; lines: Line[]; a: RolloutDetail; b: RolloutDetail }) {
  return (
    <tbody>
      <tr class="part-head"><th colSpan={3} scope="rowgroup">{title}</th></tr>
      {lines.map(({ name, plain, show = plain }) => {
        const differs = plain(a) !== plain(b);
        return (
          <tr key={name} class={differs ? "differs" : undefined}>
            <th scope="row">{name}{differs && <span class="differs-mark" title="they differ"> ≠<span class="unseen">, they differ</span></span>}</th>
            <td>{show(a)}</td>
            <td>{show(b)}</td>
          </tr>
        );
      })}
    </tbody>
  );
}

function waveTold(of: RolloutDetail, index: number): string {
  const wave = of.waves[index];
  if (wave === undefined) return "";
  const took = wave.started_at === null ? "" : duration((wave.passed_at ?? of.ended_at ?? 0) - wave.started_at);
  return [wave.reach, wave.nodes, wave.state, took].join(" ");
}

function Wave({ of, index }: { of: RolloutDetail; index: number }) {
  const wave = of.waves[index];
  if (wave === undefined) return <span class="muted">none</span>;
  return (
    <>
      <b>to {wave.reach}</b>, {counted(wave.nodes, "node")}, {wave.state}
      {wave.started_at !== null && <>, <Took from={wave.started_at} to={wave.passed_at ?? of.ended_at} /></>}
      <PhaseBar phases={wave.phases} nodes={wave.nodes} thin />
    </>
  );
}
