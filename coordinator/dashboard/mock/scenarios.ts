//! The stories that the mock can tell.

import type { Failure, Ms } from "../src/types.ts";
import { NEW, OLD, OLDER, World, type MockNode, type Scenario } from "./world.ts";

const MINUTE = 60_000;

export function world(scenario: Scenario, nodes: number, rate: number, now: Ms): World {
  const size = scenario === "empty" ? 0 : scenario === "one" ? 1 : nodes;
  const world = new World(scenario, size, rate, now);
  blemishes(world);
  switch (scenario) {
    case "running":
    case "long":
    case "halted":
      return running(world, now);
    case "bad":
      return bad(world, now);
    case "held":
      return held(world, now);
    case "one":
      world.begin(now - MINUTE);
      world.start(0, now - MINUTE);
      return world;
    default:
      world.ended = now - 52 * MINUTE;
      world.started = now - 84 * MINUTE;
      for (const node of world.nodes) node.version = NEW;
      return world;
  }
}

/** A fleet without a blemish is not one that anybody has seen. */
function blemishes(world: World): void {
  const at = (i: number) => world.nodes[i];
  const some: [number, Partial<MockNode>][] = [
    [6, { cordon: "disk is to be replaced" }],
    [11, { connection: "silent" }],
    [23, { connection: "unreachable", health: "unknown" }],
    [41, { health: "unhealthy" }],
    [57, { drained: "drained", health: "empty", cordon: "kernel update" }],
    [90, { health: "unhealthy" }],
    [101, { version: OLDER }],
    [133, { connection: "unreachable", health: "unknown" }],
  ];
  if (world.count > 50) for (const [i, change] of some) Object.assign(at(i) ?? {}, change);
}

function running(world: World, now: Ms): World {
  world.begin(now - 14 * MINUTE);
  if (world.scenario === "halted") {
    world.productionHalt = { by: "grace@example.org", reason: "payment provider is down, nothing moves until it is back", since: now - 7 * MINUTE };
  }
  world.start(0, now - 14 * MINUTE);
  world.pass(0, now - 14 * MINUTE, now - 4 * MINUTE);
  world.start(1, now - 4 * MINUTE);
  const wave = world.waves[1]?.nodes ?? [];
  wave.forEach((node, i) => {
    const part = i / wave.length;
    if (part < 0.46) world.move(node, "baking", now - 90_000 + i * 100);
    else if (part < 0.56) world.move(node, "verifying", now - 20_000);
    else if (part < 0.6) world.move(node, "activating", now - 9_000);
    else if (part < 0.64) world.move(node, "staged", now - 15_000);
    else if (part < 0.7) world.move(node, "fetching", now - 12_000);
  });
  return world;
}

const SICK: Failure = {
  class: "release", check: "web/health",
  message: "web/health did not pass within 30s (healthy_deadline): it answered 503, expected 200",
  figure: "503", limit: "200",
  log_tail: ["sample v1.8.0 starts, 8 workers", "pool: connect to orders-db:5432: password authentication failed", "pool: giving up after 5 attempts", "GET /health 503 in 2 ms"],
};
const SLOW: Failure = {
  class: "release", check: "p95",
  message: "p95 latency is 812 ms, over twice its baseline of 140 ms",
  figure: "812 ms", limit: "280 ms", log_tail: ["slow query: SELECT * FROM baskets … 790 ms", "slow query: SELECT * FROM baskets … 803 ms"],
};
const AWAY: Failure = {
  class: "infrastructure", check: null, message: "the artifact could not be fetched: connection reset by peer, 6 tries",
  figure: null, limit: null, log_tail: [],
};

function bad(world: World, now: Ms): World {
  world.begin(now - 9 * MINUTE);
  world.start(0, now - 9 * MINUTE);
  world.pass(0, now - 9 * MINUTE, now - 4 * MINUTE);
  world.start(1, now - 4 * MINUTE);
  const wave = world.waves[1]?.nodes ?? [];
  wave.forEach((node, i) => {
    const failure = i < 12 ? SICK : i < 14 ? SLOW : i < 15 ? AWAY : null;
    if (failure !== null) {
      Object.assign(node, { phase: "failed", failure, health: "unhealthy", version: NEW, since: now - 2 * MINUTE + i * 1_000 });
      world.tell("step-moved", `${node.id} is failed: ${failure.message}`, { rollout: 42, node: node.id, at: now - 2 * MINUTE + i * 1_000 });
    } else if (i < 34) Object.assign(node, { phase: "rolled-back", version: OLD, since: now - 70_000 });
    else if (i < 40) Object.assign(node, { phase: "rolling-back", version: OLD, since: now - 20_000, health: "unknown" });
  });
  if (world.waves[1] !== undefined) world.waves[1].state = "failed";
  world.state = "failed";
  world.ended = now - 75_000;
  world.why = "14 nodes failed (max_failures 2)";
  world.tell("rollout-ended", "rollout 42 failed: 14 nodes failed (max_failures 2)", { rollout: 42, at: world.ended });
  world.tell("rollout-started", "fleet started rollback 43 of 42, 48 nodes of production in 1 wave", { rollout: 43, at: now - 74_000, by: null });
  return world;
}

function held(world: World, now: Ms): World {
  world.begin(now - 3 * 60 * MINUTE);
  world.pass(0, now - 180 * MINUTE, now - 160 * MINUTE);
  world.pass(1, now - 160 * MINUTE, now - 120 * MINUTE);
  world.waves.splice(2);
  world.state = "held";
  world.needsPerson = true;
  world.tell("rollout-held", "rollout 42 reached the end of its waves and is held", { rollout: 42, at: now - 120 * MINUTE });
  return world;
}
