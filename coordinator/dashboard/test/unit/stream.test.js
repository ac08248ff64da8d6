import assert from "node:assert/strict";
import { test } from "node:test";
import { backoff } from "../../src/backoff.ts";
import { skew } from "../../src/clock.ts";
import { Reader } from "../../src/sse.ts";
import { check } from "./check.js";

const TEXT = ': here\n\nid: 7\nevent: event\ndata: {"a":1}\n\nevent: missed\r\ndata: {"from":8,\r\ndata: "to":9}\r\n\r\nid: 10\n\n';
const MESSAGES = [{ event: "event", data: '{"a":1}', id: "7" }, { event: "missed", data: '{"from":8,\n"to":9}', id: null }];

test("a stream reads the same however it is cut", () => {
  for (let size = 1; size <= TEXT.length; size += 1) {
    const reader = new Reader();
    const told = [];
    for (let at = 0; at < TEXT.length; at += size) told.push(...reader.feed(TEXT.slice(at, at + size)));
    assert.deepEqual(told, MESSAGES, `cut every ${size}`);
  }
});
check("waits double, half by chance, and end at ten seconds", [backoff(0, 0), backoff(0, 1), backoff(2, 1), backoff(40, 1), backoff(40, 0)], [250, 500, 2_000, 10_000, 5_000]);
check("a clock that is right within the noise is left alone", skew(new Date(10_000).toUTCString(), 10_200, 10_300), 0);
check("a clock that is ten minutes late is put right", skew(new Date(600_000).toUTCString(), 0, 100), 600_450);
check("an answer that took long tells nothing, nor does one without a date", [skew(new Date(0).toUTCString(), 0, 3_000), skew(null, 0, 1)], [null, null]);
