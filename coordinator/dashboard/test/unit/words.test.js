import { commandWith } from "../../src/act/command.ts";
import { withQuery } from "../../src/api.ts";
import { grouped } from "../../src/failures.ts";
import { fold } from "../../src/fold.ts";
import { merged } from "../../src/notable.ts";
import { look, news } from "../../src/shell/news.ts";
import { spans } from "../../src/spans.ts";
import { lines } from "../../src/trend.ts";
import { headline } from "../../src/words.ts";
import { check } from "./check.js";

const none = { reason: "", waves: "", again: false };
check("without details the command is the coordinator's", commandWith("fleetctl abort 42", none), "fleetctl abort 42");
check("details become options", commandWith("fleetctl resume 42", { reason: "looks good", waves: "50,100", again: true }), "fleetctl resume 42 --waves 50,100 --again --reason 'looks good'");
check("an option that is there is not said twice", commandWith("fleetctl retry 42 --again", { ...none, again: true }), "fleetctl retry 42 --again");

check("an empty filter is not in the URL", withQuery("/nodes", { q: "", zone: null, select: "zone=a", limit: 50 }), "/nodes?select=zone%3Da&limit=50");

const step = (node, message, check = "web/health") => ({ node, wave: 1, phase: "failed", unreachable: false, since: 0, from: null, failure: { class: "release", check, message, figure: null, limit: null, log_tail: [] } });
check("the same failure of many nodes is told once, the largest group first", grouped([step("n1", "slow"), step("n2", "n2 answered 503"), step("n3", "n3 answered 503"), step("n4", "the node answered 503", "api/health")]).map(({ message, steps }) => [message, steps.length]), [["the node answered 503", 2], ["slow", 1], ["the node answered 503", 1]]);

const event = (position, kind, node, message, by = null) => ({ position, at: position, kind, rollout: 42, node, by, message });
check("events in a row that say the same are told as one", fold([event(5, "step-moved", "n2", "n2 is done"), event(4, "step-moved", "n1", "n1 is done"), event(3, "wave-started", null, "wave 1 of 42 started"), event(2, "step-moved", "n1", "n1 is baking")]).map(({ message, nodes }) => [message, nodes.length]), [["is done", 2], ["wave 1 of 42 started", 0], ["is baking", 1]]);
check("what is notable is kept once, newest first, without chatter", merged([event(3, "halted", null, "a")], [event(9, "wave-started", null, "b"), event(8, "step-moved", "n1", "c"), event(3, "halted", null, "a"), event(7, "node-connected", "n1", "d", "ada")]).map(({ position }) => position), [9, 7, 3]);

const rollout = (state, waves) => ({ number: 42, app: "shop", state, why: state === "paused" ? "by ada" : null, waves: waves.map((wave, i) => ({ wave: i + 1, state: wave })) });
check("news are of states and waves", [
  news(look([]), [rollout("running", ["running"])]),
  news(look([rollout("running", ["running"])]), [rollout("paused", ["running"])]),
  news(look([rollout("paused", ["running"])]), [rollout("running", ["running"])]),
  news(look([rollout("running", ["running", "pending"])]), [rollout("running", ["passed", "running"])]),
  news(look([rollout("running", ["running"])]), [rollout("running", ["running"])]),
], [["Rollout 42 of shop has started"], ["Rollout 42 of shop is paused: by ada"], ["Rollout 42 of shop goes on"], ["Rollout 42 of shop: wave 2 of 2 is running"], []]);

const wave = (number, state, started, passed, bake) => ({ wave: number, state, started_at: started, passed_at: passed, bake_until: bake });
check("a bake is drawn up to its end", spans({ started_at: 0, ended_at: null, waves: [wave(1, "passed", 0, 4_000, 4_000), wave(2, "baking", 4_000, null, 10_000), wave(3, "pending", null, null, null)] }, 8_000), {
  end: 10_000, spans: [{ wave: 1, state: "passed", from: 0, to: 0.4, bakeTo: null }, { wave: 2, state: "baking", from: 0.4, to: 0.8, bakeTo: 1 }],
});

const trend = { figure: "p95", unit: "ms", baseline: 50, limit: 100, points: [{ at: 0, median: 50, worst: 50, nodes: 1 }, { at: 10, median: 50, worst: 108, nodes: 1 }] };
check("a limit that is broken is told, and stays in the picture", () => {
  const { over, limit, baseline } = lines(trend, 240, 64);
  return [over, limit > 0, baseline > limit];
}, [true, true, true]);
check("one point alone makes no numbers that are none", () => lines({ ...trend, points: trend.points.slice(0, 1), limit: null, baseline: null }, 240, 64).median.includes("NaN"), false);

const held = { state: "held", nodes: 120, phases: { done: 120 }, waves: [{ reach: "10%" }, { reach: "50%" }] };
check("what is held is not all done", [headline(held), headline({ ...held, waves: [{ reach: "5n" }] }), headline({ ...held, state: "running" })], [{ figure: "50", of: "% covered" }, { figure: "5n", of: "covered" }, { figure: "100", of: "% done" }]);
