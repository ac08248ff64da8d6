// Times within sentences.
import assert from "node:assert/strict";
import { test } from "node:test";
import { withTimes } from "../../src/sentence.ts";

test("a time in a sentence is a time", () => {
  const at = Date.UTC(2026, 10, 22, 6, 42, 37, 386);
  for (const [sentence, parts] of [
    ["nothing", ["nothing"]],
    ["", []],
    ["bakes until 2026-11-22T06:42:37.386Z", ["bakes until ", at]],
    ["2026-11-22T06:42:37.386Z, or later", [at, ", or later"]],
    ["from 2026-11-22T06:42:37.386Z to 2026-11-22T06:42:38.386Z.", ["from ", at, " to ", at + 1000, "."]],
    ["2026-99-99T06:42:37Z", ["2026-99-99T06:42:37Z"]],
  ]) assert.deepEqual(withTimes(sentence), parts, sentence);
});
