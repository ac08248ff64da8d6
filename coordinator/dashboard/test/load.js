// What it costs to watch 10,000 nodes at 500 events a second: all of Chromium, not only the
// page's own thread. Prints a line of JSON for each page; measured apart from the tests, which
// share the machine with others.
import assert from "node:assert/strict";
import { test } from "node:test";
import { browser, open, settled, skip } from "./chromium.js";
import { mock } from "./mock.js";

const SECONDS = 10;
const SHARE_MAX = 0.5;

const cpu = async (session) => (await session.send("SystemInfo.getProcessInfo")).processInfo.reduce((sum, { cpuTime }) => sum + cpuTime, 0);

test("10,000 nodes and 500 events a second take less than half a core", { skip }, async (t) => {
  const coordinator = await mock(t, "running", { nodes: 10_000, rate: 500, bake: 5_000 });
  const session = await (await browser()).newBrowserCDPSession();
  for (const path of ["/", "/rollouts/42"]) {
    const { page, close } = await open(coordinator.url + path);
    await settled(page);
    await page.waitForTimeout(3_000);
    const [before, from] = [await cpu(session), performance.now()];
    await page.waitForTimeout(SECONDS * 1_000);
    const share = ((await cpu(session)) - before) / ((performance.now() - from) / 1_000);
    console.log(JSON.stringify({ measure: "dashboard-cpu-share", path, nodes: 10_000, events_per_second: 500, share: Number(share.toFixed(3)), limit: SHARE_MAX }));
    assert.ok(share < SHARE_MAX, `${path} takes ${share} of a core`);
    await close();
  }
});
