// Acting: by keyboard alone, once however often one presses, and with a reason where one may not.
import assert from "node:assert/strict";
import { test } from "node:test";
import { broken, open, settled, skip } from "../chromium.js";
import { mock } from "../mock.js";

const focused = (page) => page.evaluate(() => document.activeElement?.textContent ?? "");

test("abort by keyboard: asks, says what will happen, starts at Cancel, acts once", { skip }, async (t) => {
  const coordinator = await mock(t, "running");
  const { page, complaints, close } = await open(`${coordinator.url}/rollouts/42`);
  await settled(page);
  for (let i = 0; i < 60 && (await focused(page)) !== "Abort"; i += 1) await page.keyboard.press("Tab");
  assert.equal(await focused(page), "Abort");
  await page.keyboard.press("Enter");
  assert.match(await page.getByRole("dialog").innerText(), /It ends now\.[^]*fleetctl abort 42/);
  assert.deepEqual(await broken(page), []);
  assert.equal(await focused(page), "Cancel", "what cannot be taken back is not one Enter away");
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  assert.equal(await focused(page), "Abort", "the focus goes back to where it came from");

  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.type("wrong release");
  assert.match(await page.getByRole("dialog").innerText(), /--reason 'wrong release'/);
  const button = page.getByRole("button", { name: "Abort #42" });
  await button.evaluate((element) => {
    element.click();
    element.click();
  });
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.getByText("aborted by ada@example.org: wrong release").first().waitFor();
  assert.deepEqual(await coordinator.posts(), [{ path: "/rollouts/42/abort", body: { reason: "wrong release" } }]);
  assert.deepEqual(complaints, []);
  await close();
});

test("what one may not is there, disabled, with the reason beside it", { skip }, async (t) => {
  const coordinator = await mock(t, "running");
  const { page, close } = await open(`${coordinator.url}/rollouts/42`);
  await settled(page);
  const resume = page.getByRole("button", { name: "Resume", exact: true });
  assert.equal(await resume.getAttribute("aria-disabled"), "true");
  assert.ok(await page.getByText("Resume: it is not paused").isVisible());
  await resume.click({ force: true });
  assert.equal(await page.getByRole("dialog").count(), 0);
  await close();
});

test("a refusal is told with its hint, and the dialog stays", { skip }, async (t) => {
  const coordinator = await mock(t, "running");
  const { page, close } = await open(`${coordinator.url}/rollouts/42`, { lossy: true });
  await settled(page);
  await page.getByRole("button", { name: "Pause" }).click();
  await coordinator.post("/api/v1/rollouts/42/abort", { reason: null });
  await page.getByRole("button", { name: "Pause #42" }).click();
  await page.getByRole("alert").getByText("it has ended").waitFor();
  assert.ok(await page.getByRole("dialog").getByText("fleetctl explain 42").isVisible());
  await close();
});

test("a held rollout is widened by the waves that one names", { skip }, async (t) => {
  const coordinator = await mock(t, "held");
  const { page, close } = await open(`${coordinator.url}/rollouts/42`);
  await settled(page);
  await page.getByRole("button", { name: "Resume", exact: true }).click();
  await page.getByLabel("Waves, cumulative").fill("75,100");
  await page.getByRole("button", { name: "Resume #42" }).click();
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.locator(".badge.s-running").waitFor();
  assert.deepEqual(await coordinator.posts(), [{ path: "/rollouts/42/resume", body: { reason: null, waves: "75,100" } }]);
  await close();
});

test("an act that was not answered is not said to have failed", { skip }, async (t) => {
  const coordinator = await mock(t, "running");
  const { page, close } = await open(`${coordinator.url}/rollouts/42`, { lossy: true });
  await settled(page);
  await page.getByRole("button", { name: "Pause", exact: true }).click();
  await coordinator.post("/mock/lose", { ms: 30_000 });
  await page.getByRole("button", { name: "Pause #42" }).click();
  await page.getByRole("alert").getByText("Whether it has acted is not known").waitFor();
  assert.ok(await page.getByRole("button", { name: "Cancel" }).isEnabled());
  await close();
});
