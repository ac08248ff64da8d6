import assert from "node:assert/strict";
import { test } from "node:test";
import { groupsOf } from "../../src/grid/groups.ts";
import { kindsOf } from "../../src/grid/kinds.ts";
import { cornerOf, hit, layout, step } from "../../src/grid/layout.ts";
import { check } from "./check.js";

const group = (label, from, size) => ({ label, members: Array.from({ length: size }, (_, i) => from + i) });
const two = [group("wave 1", 0, 3), group("wave 2", 3, 30)];

test("every node has one cell, and hit finds it there, at any width and size", () => {
  for (const size of [1, 2, 97, 10_000]) {
    for (const width of [320, 358, 900, 1880]) {
      const placed = layout([group("a", 0, Math.ceil(size / 3)), group("b", Math.ceil(size / 3), size - Math.ceil(size / 3))], width, 400, size);
      assert.equal(new Set(placed.order).size, size);
      for (let at = 0; at < size; at += Math.max(1, size >> 6)) {
        const { x, y } = cornerOf(placed, at);
        assert.ok(x >= 0 && x + placed.cell <= width, `${size} in ${width}: ${x}`);
        assert.equal(hit(placed, x + 1, y + 1), at);
        assert.equal(placed.places[placed.order[at]], at);
      }
    }
  }
});
check("nothing is laid out of nothing", () => layout([], 900, 400, 0).height, 0);
check("beside the cells is no cell", () => {
  const placed = layout(two, 900, 400, 33);
  return [hit(placed, 5, 5), hit(placed, 890, 5), hit(placed, 200, 9_999)];
}, [-1, -1, -1]);
check("few nodes are large, many are small, none is too small for a shape", () => [10, 240, 10_000, 90_000].map((n) => layout([group("a", 0, n)], 1_000, 400, n).pitch), [34, 34, 5, 5]);
check("keys walk in reading order and stop at the ends", () => {
  const placed = layout(two, 900, 400, 33);
  return [step(placed, -1, "ArrowDown"), step(placed, 0, "ArrowLeft"), step(placed, 2, "ArrowRight"), step(placed, 32, "ArrowRight"), step(placed, 9, "Home"), step(placed, 9, "End")];
}, [0, 0, 3, 32, 0, 32]);
check("up and down keep their column across groups", () => {
  const placed = layout(two, 404, 400, 33);
  const [first, second] = placed.boxes;
  return [step(placed, 1, "ArrowDown") - second.from, step(placed, second.from + 1, "ArrowUp"), step(placed, second.from + 9, "ArrowUp"), step(placed, 1, "ArrowUp"), first.columns];
}, [1, 1, 2, 1, 11]);

const fleet = (over) => ({
  position: 1, environment: "production", app: "shop", rollout: 42, waves: 2,
  words: { zones: ["a", "b"], versions: ["v2@1", "v1@0"], phases: ["pending", "done", "failed"], connections: ["connected", "unreachable"], healths: ["healthy", "unhealthy"] },
  nodes: ["n3", "n1", "n2", "n4"], zone: [0, 1, 0, -1], wave: [2, 1, 2, -1], phase: [0, 1, 2, -1], connection: [1, 0, 1, 0], health: [0, 0, 1, 0], version: [1, 0, 0, -1], flags: [0, 0, 0, 1], ...over,
});
check("waves come in order, who is in none comes last, and names decide within", groupsOf(fleet(), "wave"), [
  { label: "wave 1", members: [1] }, { label: "wave 2", members: [2, 0] }, { label: "in no wave", members: [3] },
]);
check("zones have their names", groupsOf(fleet(), "zone").map(({ label }) => label), ["a", "b", "no zone"]);
const words = (by, over) => {
  const { kinds, of } = kindsOf(fleet(over), by);
  return [...of].map((kind) => kinds[kind].word);
};
check("who is away is unreachable, but a failure stays one", words("phase"), ["unreachable", "done", "failed", "not in it"]);
check("the health of who is away is not known", words("health"), ["unreachable", "healthy", "unreachable", "healthy"]);
check("who runs nothing has no release", words("release"), ["v1@0", "v2@1", "v2@1", "none"]);
check("a phase that this page does not know is still counted", words("phase", { words: { ...fleet().words, phases: ["thawing", "done", "failed"] }, connection: [0, 0, 0, 0] }), ["thawing", "done", "failed", "not in it"]);
check("counts are of all", kindsOf(fleet(), "phase").counts.reduce((a, b) => a + b), 4);
