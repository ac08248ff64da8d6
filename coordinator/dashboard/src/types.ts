//! What the coordinator's HTTP API answers, word for word. Times are milliseconds since the
//! epoch; what may be absent is null.

export type Ref = string;
export type Ms = number;

export type State = "running" | "paused" | "held" | "succeeded" | "failed" | "aborted";
export type Phase =
  | "pending"
  | "fetching"
  | "staged"
  | "migrating"
  | "activating"
  | "verifying"
  | "baking"
  | "done"
  | "failed"
  | "rolling-back"
  | "rolled-back";
export type Phases = Partial<Record<Phase, number>>;
export type Act = "pause" | "resume" | "abort" | "retry" | "rollback";
export type Health = "empty" | "unknown" | "healthy" | "unhealthy";
export type Connection = "connected" | "silent" | "unreachable" | "revoked" | "expired";
export type Figure = "error-rate" | "p50" | "p95" | "cpu" | "memory" | "restarts";

export type Problem = {
  type: string;
  title: string;
  status: number;
  detail: string;
  hint?: string | null;
};
export type Page<T> = { items: T[]; next: string | null };

export type Waiting = { what: string; since: Ms | null; until: Ms | null; hint: string | null };
export type Halt = { by: string; reason: string; since: Ms };

export type Status = {
  coordinator: { version: string; term: number; position: number; outdated: Waiting | null };
  halt: Halt | null;
  environments: Environment[];
  active: Rollout[];
  recent: Rollout[];
  nodes: NodeCounts;
};
export type NodeCounts = {
  total: number;
  connected: number;
  silent: number;
  unreachable: number;
  revoked: number;
  expired: number;
  unhealthy: number;
  cordoned: number;
  drained: number;
};
export type Environment = { environment: string; select: string; halt: Halt | null; apps: EnvironmentApp[] };
export type EnvironmentApp = {
  app: string;
  desired: Ref | null;
  nodes: number;
  healthy: number;
  unavailable: number;
  behind: number;
  versions: Record<string, number>;
};

export type Rollout = {
  number: number;
  app: string;
  environment: string;
  /** None: a rollback of each node to its own last good release. */
  release: Ref | null;
  kind: "forward" | "catch-up" | "rollback";
  parent: number | null;
  state: State;
  why: string | null;
  needs_person: boolean;
  by: string;
  reason: string | null;
  started_at: Ms;
  ended_at: Ms | null;
  rollback: number | null;
  superseded_by: number | null;
  nodes: number;
  phases: Phases;
  unreachable: number;
  waves: Wave[];
  waiting: Waiting[];
};
export type Wave = {
  wave: number;
  reach: string;
  state: "pending" | "running" | "baking" | "passed" | "failed";
  nodes: number;
  phases: Phases;
  started_at: Ms | null;
  bake_until: Ms | null;
  passed_at: Ms | null;
};
export type RolloutDetail = Rollout & {
  strategy: Record<string, unknown>;
  left_out: { node: string; why: string }[];
  left_out_total: number;
  failures: Step[];
  failures_total: number;
  migration_log: string[];
};
export type Failure = {
  class: "release" | "infrastructure" | "operator";
  check: string | null;
  message: string;
  figure: string | null;
  limit: string | null;
  log_tail: string[];
};
export type Step = {
  node: string;
  wave: number;
  phase: Phase;
  unreachable: boolean;
  since: Ms;
  from: Ref | null;
  failure: Failure | null;
};
export type Point = { at: Ms; median: number; worst: number; nodes: number };
export type Trend = {
  figure: Figure;
  unit: "percent" | "ms" | "count";
  baseline: number | null;
  limit: number | null;
  points: Point[];
};
export type Trends = { figures: Trend[] };
export type ActOffer = { act: Act; allowed: boolean; why_not: string | null; consequence: string; command: string };
export type Acts = { acts: ActOffer[] };

export type Node = {
  node: string;
  labels: Record<string, string>;
  platform: string;
  environments: string[];
  connection: { state: Connection; since: Ms | null };
  cordon: string | null;
  drained: "draining" | "drained" | null;
  enrolled_at: Ms;
  agent_version: string | null;
  facts: Facts | null;
  vitals: Vitals | null;
  apps: NodeApp[];
};
export type Facts = {
  hostname: string;
  kernel: string;
  cpus: number;
  memory: number;
  disk: number;
  disk_free: number;
  booted_at: Ms;
};
export type Vitals = {
  cpu_percent: number;
  memory_percent: number;
  disk_free: number;
  releases: { app: string; release: Ref }[];
};
export type NodeApp = {
  app: string;
  current: Ref | null;
  last_good: Ref | null;
  health: Health;
  why: string | null;
  phase: Phase | null;
  rollout: number | null;
};
export type NodePage = Page<Node> & { total: number };

/** One row a node, as columns of the same length; an index of -1 stands for none. */
export type Fleet = {
  position: number;
  environment: string | null;
  app: string | null;
  rollout: number | null;
  words: { zones: string[]; versions: string[]; phases: string[]; connections: string[]; healths: string[] };
  waves: number;
  nodes: string[];
  zone: number[];
  wave: number[];
  phase: number[];
  connection: number[];
  health: number[];
  version: number[];
  /** 1 cordoned, 2 drained. */
  flags: number[];
};

export type Release = {
  app: string;
  release: Ref;
  counter: number;
  pushed_at: Ms;
  by: string;
  components: string[];
  signed_by: string[];
  runs_on: number;
  desired_in: string[];
  known_bad: { environment: string; rollout: number; why: string }[];
};

export type Event = {
  position: number;
  at: Ms;
  kind: string;
  rollout: number | null;
  node: string | null;
  by: string | null;
  message: string;
};

export type Session = {
  operator: string | null;
  via: "loopback" | "nothing" | "certificate" | "token" | "session";
  until: Ms | null;
  roles: { environment: string | null; role: "viewer" | "deployer" | "admin" }[];
  may_read: boolean;
};
