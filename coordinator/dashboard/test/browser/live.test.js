// The line to the coordinator: lost and found again, logins, places and keys.
import assert from "node:assert/strict";
import { test } from "node:test";
import { broken, open, settled, skip } from "../chromium.js";
import { mock } from "../mock.js";

test("a lost coordinator is said within seconds, what was seen stays, and it comes back", { skip }, async (t) => {
  const coordinator = await mock(t, "running");
  const { page, close } = await open(coordinator.url, { lossy: true });
  await settled(page);
  await page.getByText("live", { exact: true }).waitFor();
  await coordinator.post("/mock/lose", { ms: 20_000 });
  await page.getByText("The coordinator does not answer.").waitFor({ timeout: 15_000 });
  await page.getByText(/What you see is \d+ s old/).waitFor();
  assert.ok(await page.getByRole("heading", { name: "#42 shop" }).isVisible());
  assert.deepEqual(await broken(page), []);
  await page.getByText("live", { exact: true }).waitFor({ timeout: 90_000 });
  await page.getByText("The coordinator does not answer.").waitFor({ state: "detached" });
  await close();
});

test("what happens is on the page a second later, without a reload", { skip }, async (t) => {
  const coordinator = await mock(t, "running");
  const { page, complaints, close } = await open(`${coordinator.url}/rollouts/42`);
  await settled(page);
  await coordinator.post("/api/v1/rollouts/42/pause", { reason: "coffee" });
  await page.locator("h1").waitFor();
  await page.getByText("paused by ada@example.org: coffee").first().waitFor();
  await page.waitForFunction(() => document.title.startsWith("#42 paused"));
  await page.locator("[aria-live=polite].unseen").getByText("Rollout 42 of shop is paused").waitFor({ state: "attached" });
  assert.deepEqual(complaints, []);
  await close();
});

test("a link with a code logs in, and the code leaves the address", { skip }, async (t) => {
  const coordinator = await mock(t, "login");
  const { page, close } = await open(`${coordinator.url}/session#code=letmein`, { lossy: true });
  await page.getByText("Environments").waitFor();
  assert.equal(page.url(), `${coordinator.url}/`);
  await close();
});

test("a token logs in; a wrong one is told of", { skip }, async (t) => {
  const coordinator = await mock(t, "login");
  const { page, close } = await open(`${coordinator.url}/rollouts/42`, { lossy: true });
  await page.getByLabel("Token").fill("nonsense");
  await page.keyboard.press("Enter");
  await page.getByText("this token is not known").waitFor();
  await page.getByLabel("Token").fill("letmein");
  await page.keyboard.press("Enter");
  await page.getByText("Environments").waitFor();
  await close();
});

test("back and forward go through filters; keys go to places; the grid is walked", { skip }, async (t) => {
  const coordinator = await mock(t, "running");
  const { page, complaints, close } = await open(`${coordinator.url}/nodes`);
  await settled(page);
  await page.getByLabel("health").selectOption("unhealthy");
  assert.match(page.url(), /health=unhealthy/);
  await page.goBack();
  assert.equal(new URL(page.url()).search, "");
  assert.equal(await page.getByLabel("health").inputValue(), "");
  await page.locator("body").press("g");
  await page.keyboard.press("f");
  await page.getByRole("application").focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => new URLSearchParams(location.search).get("node") !== null);
  const node = new URL(page.url()).searchParams.get("node");
  assert.ok(await page.locator("#grid-readout").getByRole("link", { name: node }).isVisible());
  await page.locator("h1").press("?");
  await page.getByRole("dialog", { name: "Keys" }).waitFor();
  assert.deepEqual(await broken(page), []);
  await page.keyboard.press("Escape");
  assert.deepEqual(complaints, []);
  await close();
});
