// One way to say what a function shall answer, for all tests of pure parts.
import assert from "node:assert/strict";
import { test } from "node:test";

export function check(name, actual, expected) {
  test(name, () => assert.deepEqual(typeof actual === "function" ? actual() : actual, expected));
}
