// Every page in every theme and size: it shows what it should, no rule of accessibility is
// broken, nothing is printed, no policy is violated, and nothing scrolls sideways.
import assert from "node:assert/strict";
import { test } from "node:test";
import { broken, open, settled, skip } from "../chromium.js";
import { mock } from "../mock.js";

const LONG = "/nodes/shop-frontend-worker-eu-central-1b-spot-pool-7f9c6d5b84-n0002";
const PAGES = {
  rest: { "/": "Environments", "/session": "deployer everywhere", "/nowhere": "no page of this name" },
  running: { "/": "max_in_flight", "/?by=release&group=zone&only=v1.8.0%405e6fb1d2c0a4&node=n0003": "zone eu-1c", "/rollouts/42": "Health since the switch", "/nodes?health=healthy": "of 2", "/events?order=oldest": "pushed shop" },
  bad: { "/": "14 nodes failed", "/rollouts/42": "12 nodes:", "/rollouts/42?phase=failed&wave=2": "web/health", "/rollouts/43": "Rollback of", "/rollouts": "Choose two", "/rollouts?a=42&b=41": "Compare #42 and #41", "/rollouts/compare?a=42&b=41": "max failures", "/releases": "in production", "/nodes/n0025": "last good" },
  held: { "/": "A person is needed.", "/rollouts/42": "covered by none" },
  halted: { "/": "Halted: production." },
  long: { "/": "Nodes", "/nodes": "spot-", [LONG]: "Vitals", "/rollouts/42": "spot-" },
  empty: { "/": "No node is here yet", "/rollouts": "No rollout is like that", "/nodes": "No node is like that", "/releases": "No release has been pushed yet" },
  one: { "/": "1 node", "/rollouts/42": "No data is not the same as good" },
  login: { "/": "Token" },
};
const SHAPES = [{ width: 1440, height: 900, theme: "light" }, { width: 1440, height: 900, theme: "dark" }, { width: 390, height: 844, theme: "light" }, { width: 390, height: 844, theme: "dark" }];

for (const [scenario, pages] of Object.entries(PAGES)) {
  test(`${scenario}: ${Object.keys(pages).join(" ")}`, { skip }, async (t) => {
    const wrong = [];
    const { url } = await mock(t, scenario, { nodes: scenario === "long" ? 60 : 240 });
    for (const [path, text] of Object.entries(pages)) {
      for (const shape of SHAPES) {
        const where = `${scenario} ${path} ${shape.width} ${shape.theme}`;
        const { page, complaints, close } = await open(url + path, shape);
        await settled(page);
        await page.getByText(text).first().waitFor({ state: "attached" });
        wrong.push(...(await broken(page)).map((rule) => `${where}: ${rule}`));
        const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
        if (wide > room) wrong.push(`${where} is ${wide} wide`);
        wrong.push(...complaints.map((complaint) => `${where}: ${complaint}`));
        await close();
      }
    }
    assert.deepEqual(wrong, []);
  });
}
