//! A fleet that exists only in memory, and one rollout that moves through it. For development
//! and the browser checks: the same seed plays the same story.

import type { Event, Failure, Health, Connection, Halt, Ms, Phase, State } from "../src/types.ts";

export type Scenario = "rest" | "running" | "bad" | "held" | "halted" | "empty" | "one" | "long" | "login";

export type MockNode = {
  id: string;
  zone: string;
  environment: string;
  wave: number;
  phase: Phase | null;
  since: Ms;
  connection: Connection;
  health: Health;
  version: string;
  cordon: string | null;
  drained: "draining" | "drained" | null;
  failure: Failure | null;
};

export type MockWave = {
  reach: string;
  nodes: MockNode[];
  state: "pending" | "running" | "baking" | "passed" | "failed";
  started: Ms | null;
  bakeUntil: Ms | null;
  passed: Ms | null;
};

export const OLD = "v1.7.3@9c41d07be2f5";
export const NEW = "v1.8.0@5e6fb1d2c0a4";
export const OLDER = "v1.6.9@0b77aa31e6d2";
export const REACH = [10, 50, 100];

const WAY: Phase[] = ["pending", "fetching", "staged", "activating", "verifying", "baking"];

export class World {
  nodes: MockNode[] = [];
  waves: MockWave[] = [];
  events: Event[] = [];
  position = 48_211;
  number = 42;
  state: State = "succeeded";
  why: string | null = null;
  needsPerson = false;
  started: Ms;
  ended: Ms | null = null;
  halt: Halt | null = null;
  productionHalt: Halt | null = null;
  bakeMs = 95_000;
  #chance: number;
  #debt = 0;
  #flying: MockNode[] = [];

  constructor(
    readonly scenario: Scenario,
    readonly count: number,
    readonly rate: number,
    now: Ms,
    seed = 7,
  ) {
    this.#chance = seed;
    this.started = now - 11 * 60_000;
    for (let i = 0; i < count; i += 1) this.nodes.push(this.#node(i, "production", now));
    if (count > 1) for (let i = 0; i < 12; i += 1) this.nodes.push(this.#node(i, "staging", now));
    let from = 0;
    for (const reach of count === 0 ? [] : REACH) {
      const to = Math.ceil((count * reach) / 100);
      if (to === from) continue;
      // Spread over zones, as a plan does: the ids of a wave are not neighbours.
      this.waves.push({ reach: `${reach}%`, nodes: [], state: "pending", started: null, bakeUntil: null, passed: null });
      from = to;
    }
    const order = this.nodes.slice(0, count).map((node, i) => ({ node, key: (i * 7919) % Math.max(1, count) }));
    order.sort((a, b) => a.key - b.key);
    order.forEach(({ node }, i) => {
      const wave = this.waves.findIndex((_, w) => i < Math.ceil((count * (REACH[w] ?? 100)) / 100));
      node.wave = Math.max(0, wave);
      this.waves[node.wave]?.nodes.push(node);
    });
    this.#history(now);
  }

  chance(): number {
    this.#chance = (this.#chance * 1_103_515_245 + 12_345) % 2_147_483_648;
    return this.#chance / 2_147_483_648;
  }

  #node(i: number, environment: string, now: Ms): MockNode {
    const zone = "abc"[i % 3] ?? "a";
    const plain = `${environment === "staging" ? "s" : "n"}${String(i + 1).padStart(this.count > 9_999 ? 5 : 4, "0")}`;
    const long = `shop-frontend-worker-eu-central-1${zone}-spot-pool-7f9c6d5b84-${plain}`;
    return {
      id: this.scenario === "long" ? long : plain,
      zone: `eu-1${zone}`, environment, wave: -1, phase: null, since: now - 3_600_000,
      connection: "connected", health: "healthy", version: OLD, cordon: null, drained: null, failure: null,
    };
  }

  #history(now: Ms): void {
    const told: [string, string, string | null][] = [
      ["token-created", "ada@example.org created join token 7c1e for 12 nodes", "ada@example.org"],
      ["release-pushed", "ci@example.org pushed shop v1.8.0@5e6fb1d2c0a4", "ci@example.org"],
      ["node-cordoned", "ada@example.org cordoned n0007: disk is to be replaced", "ada@example.org"],
      ["node-silent", "n0012 fell silent", null],
      ["node-connected", "n0012 connected, agent 0.9.1", null],
    ];
    told.forEach(([kind, message, by], i) => this.tell(kind, message, { at: now - (40 - i) * 60_000, by }));
  }

  tell(kind: string, message: string, of: Partial<Event> = {}): Event {
    this.position += 1;
    const event: Event = { at: Date.now(), rollout: null, node: null, by: null, ...of, position: this.position, kind, message };
    this.events.push(event);
    if (this.events.length > 5_000) this.events.splice(0, 1_000);
    return event;
  }

  /** Begins the rollout, and plays it until so many nodes of the fleet have it. */
  begin(now: Ms): void {
    this.state = "running";
    this.started = now;
    this.ended = null;
    this.#flying = [];
    this.tell("rollout-started", `ada@example.org started rollout ${this.number} of shop ${NEW} to ${this.count} nodes of production in ${this.waves.length} waves`, { rollout: this.number, by: "ada@example.org", at: now });
    for (const wave of this.waves) {
      Object.assign(wave, { state: "pending", started: null, bakeUntil: null, passed: null });
      for (const node of wave.nodes) Object.assign(node, { phase: "pending", version: OLD, failure: null, health: "healthy" });
    }
  }

  pass(index: number, started: Ms, passed: Ms): void {
    const wave = this.waves[index];
    if (wave === undefined) return;
    Object.assign(wave, { state: "passed", started, passed, bakeUntil: passed });
    for (const node of wave.nodes) Object.assign(node, { phase: "done", version: NEW, since: passed - 60_000 });
    this.tell("wave-passed", `wave ${index + 1} of ${this.number} passed`, { rollout: this.number, at: passed });
  }

  start(index: number, at: Ms): void {
    const wave = this.waves[index];
    if (wave === undefined) return;
    wave.state = "running";
    wave.started = at;
    this.tell("wave-started", `wave ${index + 1} of ${this.number} started`, { rollout: this.number, at });
  }

  move(node: MockNode, phase: Phase, at: Ms): void {
    node.phase = phase;
    node.since = at;
    if (phase === "activating") node.version = NEW;
    node.health = phase === "verifying" || phase === "activating" ? "unknown" : "healthy";
    this.tell("step-moved", `${node.id} is ${phase}`, { rollout: this.number, node: node.id, at });
  }

  /** What has happened since the last tick, at so many events a second. */
  tick(now: Ms, elapsed: Ms): void {
    this.#debt = Math.min(this.rate * 2, this.#debt + (this.rate * elapsed) / 1_000);
    const index = this.waves.findIndex(({ state }) => state === "running" || state === "baking");
    const wave = this.waves[index];
    if (this.state === "running" && wave?.state === "baking" && now >= (wave.bakeUntil ?? 0)) {
      this.pass(index, wave.started ?? now, now);
      if (index + 1 < this.waves.length) this.start(index + 1, now);
      else this.#end(now);
    }
    while (this.#debt >= 1) {
      this.#debt -= 1;
      if (this.state === "running" && wave?.state === "running" && this.productionHalt === null) this.#step(wave, index, now);
      else this.#noise(now);
    }
  }

  #step(wave: MockWave, index: number, now: Ms): void {
    const limit = Math.max(3, Math.ceil(wave.nodes.length / 4));
    this.#flying = wave.nodes.filter(({ phase }) => phase !== null && WAY.indexOf(phase) > 0 && phase !== "baking");
    if (this.#flying.length < limit && this.chance() < 0.5) {
      const next = wave.nodes.find((node) => node.phase === "pending");
      if (next !== undefined) {
        this.#flying.push(next);
        this.move(next, "fetching", now);
        return;
      }
    }
    const node = this.#flying[Math.floor(this.chance() * this.#flying.length)];
    if (node !== undefined) {
      this.move(node, WAY[WAY.indexOf(node.phase ?? "pending") + 1] ?? "baking", now);
      return;
    }
    if (wave.nodes.every(({ phase }) => phase === "baking")) {
      wave.state = "baking";
      wave.bakeUntil = now + this.bakeMs;
      this.tell("wave-baking", `wave ${index + 1} of ${this.number} was verified and bakes until ${new Date(wave.bakeUntil).toISOString()}`, { rollout: this.number, at: now });
    } else this.#noise(now);
  }

  #noise(now: Ms): void {
    const node = this.nodes[Math.floor(this.chance() * this.nodes.length)];
    if (node !== undefined) this.tell("node-reported", `${node.id} reported shop ${node.version}, ${node.health}`, { node: node.id, at: now });
  }

  #end(now: Ms): void {
    this.state = "succeeded";
    this.ended = now;
    for (const node of this.nodes) node.phase = null;
    this.tell("rollout-ended", `rollout ${this.number} succeeded`, { rollout: this.number, at: now });
  }
}
