//! The mock's world as the API shows it. Written against the same types as the page, so that
//! the two cannot drift apart.

import type {
  Acts, Act, Environment, Fleet, Node, NodeCounts, Phase, Phases, Rollout, RolloutDetail, Status, Step, Trend, Trends, Waiting, Release,
} from "../src/types.ts";
import { NEW, OLD, OLDER, World, type MockNode } from "./world.ts";

const PHASES: Phase[] = ["pending", "fetching", "staged", "migrating", "activating", "verifying", "baking", "done", "failed", "rolling-back", "rolled-back"];

const tally = (nodes: MockNode[]): Phases => {
  const phases: Phases = {};
  for (const { phase } of nodes) {
    const word = phase ?? "done";
    phases[word] = (phases[word] ?? 0) + 1;
  }
  return phases;
};
const members = (world: World) => world.waves.flatMap(({ nodes }) => nodes);
const ended = ({ state }: Rollout) => state === "succeeded" || state === "failed" || state === "aborted";

export function current(world: World, now: number): Rollout {
  const nodes = members(world);
  return {
    number: world.number, app: "shop", environment: "production", release: NEW, kind: "forward", parent: null,
    state: world.state, why: world.why, needs_person: world.needsPerson, by: "ada@example.org",
    reason: "basket totals, ticket 812", started_at: world.started, ended_at: world.ended,
    rollback: world.scenario === "bad" ? 43 : null, superseded_by: null,
    nodes: nodes.length, phases: tally(nodes), unreachable: nodes.filter((node) => node.connection === "unreachable").length,
    waves: world.waves.map((wave, i) => ({
      wave: i + 1, reach: wave.reach, state: wave.state, nodes: wave.nodes.length, phases: tally(wave.nodes),
      started_at: wave.started, bake_until: wave.bakeUntil, passed_at: wave.passed,
    })),
    waiting: waiting(world, now),
  };
}

function waiting(world: World, now: number): Waiting[] {
  const { productionHalt: halt } = world;
  if (halt !== null) return [{ what: `production is halted by ${halt.by}: ${halt.reason}`, since: halt.since, until: null, hint: "fleetctl unhalt --env production" }];
  if (world.state === "held") return [{ what: `held: its waves have passed, ${world.count - members(world).length} nodes are covered by none`, since: now - 7_200_000, until: null, hint: "fleetctl resume 42 --waves 100" }];
  if (world.state === "paused") return [{ what: `paused: ${world.why ?? "by an operator"}`, since: now - 30_000, until: null, hint: `fleetctl resume ${world.number}` }];
  if (world.state !== "running") return [];
  const index = world.waves.findIndex(({ state }) => state === "running" || state === "baking");
  const wave = world.waves[index];
  if (wave === undefined) return [];
  if (wave.state === "baking") return [{ what: `wave ${index + 1} bakes for 95s`, since: (wave.bakeUntil ?? now) - world.bakeMs, until: wave.bakeUntil, hint: null }];
  const phases = tally(wave.nodes);
  const parts = (["fetching", "activating", "verifying"] as const).filter((phase) => phases[phase]).map((phase) => `${phases[phase]} nodes ${phase}`);
  const pending = phases.pending ?? 0;
  return [
    { what: `wave ${index + 1}: ${parts.join("; ") || "its next nodes"}`, since: wave.started, until: null, hint: null },
    ...(pending > 0 ? [{ what: `${pending} nodes wait their turn: max_in_flight is 25%`, since: wave.started, until: null, hint: null }] : []),
    ...(world.count > 50 ? [{ what: "n0024 to connect", since: now - 190_000, until: now + 410_000, hint: "fleetctl node show n0024" }] : []),
  ];
}

export function rollouts(world: World, now: number): Rollout[] {
  const list: Rollout[] = world.count === 0 ? [] : [current(world, now)];
  if (world.scenario === "bad") list.unshift(wayBack(world, now));
  const base = list[0];
  if (base === undefined || world.scenario === "one") return list;
  const states = ["succeeded", "failed", "succeeded", "aborted", "succeeded", "succeeded"] as const;
  for (let number = 41; number > 0; number -= 1) {
    const state = states[number % 6] ?? "succeeded";
    const started = now - (43 - number) * 9_400_000;
    const staging = number % 3 === 0;
    const nodes = staging ? 12 : world.count;
    const failed = state === "failed" ? Math.min(nodes, 3) : 0;
    const phases: Phases = state === "aborted" ? { done: Math.floor(nodes / 10), pending: nodes - Math.floor(nodes / 10) } : failed > 0 ? { done: Math.floor(nodes / 10), failed, "rolled-back": nodes - failed - Math.floor(nodes / 10) } : { done: nodes };
    list.push({
      ...base, number, state, kind: number % 11 === 0 ? "catch-up" : "forward", parent: null, app: number % 4 === 0 ? "ledger" : "shop", environment: staging ? "staging" : "production",
      release: `v1.${Math.floor(number / 6)}.${number % 6}@${(number * 7_919_777).toString(16).padStart(12, "0")}`,
      why: state === "failed" ? "3 nodes failed (max_failures 2)" : state === "aborted" ? "aborted by grace@example.org: wrong release" : null,
      needs_person: false, by: number % 2 === 0 ? "ada@example.org" : "ci@example.org", reason: null, started_at: started,
      ended_at: started + 1_500_000 + number * 17_000, rollback: null, nodes, phases, unreachable: 0, waiting: [],
      waves: base.waves.map((wave, i) => ({
        ...wave, nodes: Math.ceil((nodes * wave.nodes) / Math.max(1, world.count)), phases: i === 0 ? { done: Math.ceil(nodes / 10) } : {},
        state: state === "succeeded" || i === 0 ? ("passed" as const) : i === 1 && failed > 0 ? ("failed" as const) : ("pending" as const),
        started_at: state === "succeeded" || i < 2 ? started + i * 500_000 : null, bake_until: null,
        passed_at: state === "succeeded" || i === 0 ? started + (i + 1) * 490_000 + number * 3_000 : null,
      })),
    });
  }
  return list;
}

function wayBack(world: World, now: number): Rollout {
  const base = current(world, now);
  const phases: Phases = { done: 20, verifying: 8, pending: 20 };
  return {
    ...base, number: 43, release: null, kind: "rollback", parent: 42, state: "running", why: null, by: "fleet", reason: "14 nodes failed (max_failures 2)",
    started_at: now - 74_000, ended_at: null, rollback: null, nodes: 48, phases,
    waves: [{ wave: 1, reach: "100%", state: "running", nodes: 48, phases, started_at: now - 74_000, bake_until: null, passed_at: null }],
    waiting: [{ what: "wave 1: 8 nodes verifying", since: now - 31_000, until: null, hint: null }],
  };
}

export function detail(world: World, number: number, now: number): RolloutDetail | null {
  const rollout = rollouts(world, now).find((one) => one.number === number);
  if (rollout === undefined) return null;
  const failures = number === world.number ? steps(world).filter(({ failure }) => failure !== null) : [];
  return {
    ...rollout,
    strategy: { waves: number % 2 === 0 ? "10,50,100" : "5n,25,100", bake: "95s", max_in_flight: "25%", max_unavailable: "25%", max_failures: 2, max_unreachable: 5, on_failure: "rollback", spread: "zone", no_data: "pause", progress_deadline: "10m" },
    left_out: world.count > 50 ? [{ node: "n0007", why: "cordoned: disk is to be replaced" }, { node: "n0058", why: "drained" }] : [],
    left_out_total: world.count > 50 ? 2 : 0, failures, failures_total: failures.length,
    migration_log: number === world.number && world.scenario !== "one" ? ["0041_basket_totals.sql: 3 statements", "ALTER TABLE baskets ADD COLUMN total_cents bigint", "backfilled 1204112 rows in 41 s", "verified"] : [],
  };
}

export function steps(world: World): Step[] {
  return world.waves.flatMap((wave, i) => wave.nodes.map((node) => ({
    node: node.id, wave: i + 1, phase: node.phase ?? "done", unreachable: node.connection === "unreachable", since: node.since, from: OLD, failure: node.failure,
  })));
}

export function trends(world: World, now: number): Trends {
  const sick = world.scenario === "bad";
  const make = (figure: Trend["figure"], unit: Trend["unit"], baseline: number, limit: number, bent: number): Trend => ({
    figure, unit, baseline, limit,
    points: Array.from({ length: 48 }, (_, i) => {
      const wave = Math.sin(i / 3) * 0.06 + Math.cos(i * 1.7) * 0.03;
      const rise = sick && i > 28 ? ((i - 28) / 20) * bent : 0;
      return { at: now - (48 - i) * 5_000, median: baseline * (1 + wave + rise * 0.4), worst: baseline * (1.35 + wave * 2 + rise), nodes: 24 };
    }),
  });
  if (world.scenario === "one") return { figures: [] };
  return { figures: [make("error-rate", "percent", 0.4, 5, 16), make("p50", "ms", 38, 80, 1.2), make("p95", "ms", 140, 280, 5), make("cpu", "percent", 41, 90, 0.4), make("memory", "percent", 62, 90, 0.1), make("restarts", "count", 0, 3, 0)] };
}

export function acts(world: World, number: number, now: number): Acts {
  const rollout = rollouts(world, now).find((one) => one.number === number);
  const over = rollout === undefined || ended(rollout);
  const offer = (act: Act, allowed: boolean, whyNot: string, consequence: string) => ({
    act, allowed, why_not: allowed ? null : whyNot, consequence, command: `fleetctl ${act} ${number}`,
  });
  const state = rollout?.state;
  return { acts: [
    offer("pause", state === "running", over ? "it has ended" : `it is ${state} already`, "What is in flight ends; no further node is touched until it is resumed."),
    offer("resume", state === "paused" || state === "held", over ? "it has ended" : "it is not paused", state === "held" ? "It goes on with the waves you name. 120 nodes are covered by none yet." : "It goes on where it stopped, within the same limits."),
    offer("abort", !over, "it has ended", `It ends now. ${rollout?.phases.verifying ?? 0} nodes that are on their way go back to v1.7.3; ${rollout?.phases.done ?? 0} nodes that are done keep v1.8.0.`),
    offer("retry", (rollout?.phases.failed ?? 0) > 0, "nothing of it has failed", "Its 15 failed steps are tried again, in a new rollout, within the same limits."),
    offer("rollback", true, "", `${rollout?.phases.done ?? 0} nodes that run v1.8.0 go back, each to its own last good release, in 1 wave.`),
  ] };
}

export function status(world: World, now: number): Status {
  const all = rollouts(world, now);
  return {
    coordinator: { version: "0.9.1", term: 7, position: world.position, outdated: null }, halt: world.halt,
    environments: environments(world), active: all.filter((one) => !ended(one)), recent: all.filter(ended).slice(0, 5), nodes: counts(world.nodes),
  };
}

function counts(nodes: MockNode[]): NodeCounts {
  const of = (test: (node: MockNode) => boolean) => nodes.filter(test).length;
  return {
    total: nodes.length, connected: of((n) => n.connection === "connected"), silent: of((n) => n.connection === "silent"), unreachable: of((n) => n.connection === "unreachable"),
    revoked: 0, expired: 0, unhealthy: of((n) => n.health === "unhealthy"), cordoned: of((n) => n.cordon !== null), drained: of((n) => n.drained !== null),
  };
}

export function environments(world: World): Environment[] {
  const app = (name: string, environment: string, desired: string | null) => {
    const nodes = world.nodes.filter((node) => node.environment === environment);
    const versions: Record<string, number> = {};
    for (const node of nodes) versions[node.version] = (versions[node.version] ?? 0) + 1;
    const healthy = nodes.filter((node) => node.health === "healthy" && node.connection === "connected").length;
    return { app: name, desired, nodes: nodes.length, healthy, unavailable: nodes.length - healthy, behind: nodes.filter((node) => node.version !== desired).length, versions: name === "shop" ? versions : { "v3.0.2@77d1c0ffee42": nodes.length } };
  };
  if (world.count === 0) return [{ environment: "production", select: "env=production", halt: world.productionHalt, apps: [] }];
  const wanted = world.state === "succeeded" ? NEW : OLD;
  const production = { environment: "production", select: "env=production", halt: world.productionHalt, apps: [app("shop", "production", wanted), app("ledger", "production", "v3.0.2@77d1c0ffee42")] };
  production.apps[1] = { ...(production.apps[1] ?? app("ledger", "production", null)), behind: 0 };
  if (world.count === 1) return [production];
  return [production, { environment: "staging", select: "env=staging", halt: null, apps: [app("shop", "staging", wanted)] }];
}

export function fleet(world: World, environment: string): Fleet {
  const nodes = world.nodes.filter((node) => node.environment === environment);
  const zones = [...new Set(nodes.map(({ zone }) => zone))].sort();
  const versions = [NEW, OLD, OLDER];
  const connections = ["connected", "silent", "unreachable", "revoked", "expired"];
  const healths = ["empty", "unknown", "healthy", "unhealthy"];
  const about = environment === "production" && world.state !== "succeeded" && nodes.length > 0;
  return {
    position: world.position, environment, app: "shop", rollout: about ? world.number : null,
    words: { zones, versions, phases: PHASES, connections, healths }, waves: about ? world.waves.length : 0,
    nodes: nodes.map(({ id }) => id), zone: nodes.map(({ zone }) => zones.indexOf(zone)),
    wave: nodes.map((node) => (about && world.waves[node.wave]?.nodes.includes(node) === true ? node.wave + 1 : -1)),
    phase: nodes.map(({ phase }) => (about && phase !== null ? PHASES.indexOf(phase) : -1)),
    connection: nodes.map(({ connection }) => connections.indexOf(connection)), health: nodes.map(({ health }) => healths.indexOf(health)),
    version: nodes.map(({ version }) => versions.indexOf(version)), flags: nodes.map(({ cordon, drained }) => (cordon !== null ? 1 : 0) | (drained !== null ? 2 : 0)),
  };
}

export function node(world: World, mock: MockNode, now: number, whole: boolean): Node {
  return {
    node: mock.id, labels: { zone: mock.zone, env: mock.environment, role: "api" }, platform: "linux/amd64", environments: [mock.environment],
    connection: { state: mock.connection, since: now - 86_400_000 }, cordon: mock.cordon, drained: mock.drained, enrolled_at: now - 40 * 86_400_000, agent_version: "0.9.1",
    facts: { hostname: `${mock.id}.example.internal`, kernel: "6.12.57+deb13-amd64", cpus: 8, memory: 34_359_738_368, disk: 214_748_364_800, disk_free: 88_046_829_568, booted_at: now - 12 * 86_400_000 },
    vitals: whole && mock.connection === "connected" ? { cpu_percent: 37.4, memory_percent: 61.8, disk_free: 88_046_829_568, releases: [{ app: "shop", release: NEW }, { app: "shop", release: OLD }, { app: "shop", release: OLDER }] } : null,
    apps: [
      { app: "shop", current: mock.version, last_good: OLD, health: mock.health, why: mock.health === "unhealthy" ? (mock.failure?.message ?? "web/health answered 500, expected 200, 3 times in a row") : null, phase: mock.phase, rollout: mock.phase === null ? null : world.number },
      { app: "ledger", current: "v3.0.2@77d1c0ffee42", last_good: "v3.0.2@77d1c0ffee42", health: "healthy", why: null, phase: null, rollout: null },
    ],
  };
}

export function releases(world: World, now: number): Release[] {
  const on = (version: string) => world.nodes.filter((node) => node.version === version).length;
  const one = (app: string, release: string, counter: number, days: number): Release => ({
    app, release, counter, pushed_at: now - days * 86_400_000, by: "ci@example.org", components: app === "shop" ? ["api", "worker", "web"] : ["ledgerd"], signed_by: ["release-2026"],
    runs_on: app === "shop" ? on(release) : world.nodes.length, desired_in: release === OLD ? ["production", "staging"] : [], known_bad: [],
  });
  if (world.count === 0) return [];
  const bad = world.scenario === "bad" ? [{ environment: "production", rollout: 42, why: "14 nodes failed (max_failures 2)" }] : [];
  return [{ ...one("shop", NEW, 118, 0.04), known_bad: bad }, one("ledger", "v3.0.2@77d1c0ffee42", 31, 3), one("shop", OLD, 117, 6), one("shop", OLDER, 112, 19)];
}
