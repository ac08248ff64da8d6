// The dashboard of a real fleet: a rollout watched through its waves, a bad release that stops,
// acts as a deployer, and a viewer who may not. Run beside `fleetctl dev`, by its environment:
// FLEETCTL, FLEET_COORDINATOR, FLEET_IDENTITY and FLEET_DASHBOARD say where it is.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { test } from "node:test";
import { promisify } from "node:util";
import { broken, open, settled, skip } from "../chromium.js";

const { FLEETCTL = "fleetctl", FLEET_DASHBOARD: url = "", SHOTS } = process.env;
const run = promisify(execFile);
const fleetctl = async (...words) => (await run(FLEETCTL, words)).stdout.trim();
const detached = (version, ...more) => fleetctl("rollout", version, "--detach", ...more);

async function as(operator, role) {
  await fleetctl("operator", "add", operator, "--role", role);
  const token = await fleetctl("operator", "token", operator, "--valid-for", "1h");
  const opened = await open(`${url}/session#code=${token}`);
  await opened.page.getByText(operator).first().waitFor();
  assert.ok(!opened.page.url().includes(token), "the token does not stay in the address");
  return opened;
}

async function shot(page, name) {
  assert.deepEqual(await broken(page), [], name);
  if (!SHOTS) return;
  await mkdir(SHOTS, { recursive: true });
  for (const [width, height] of [[1440, 900], [390, 844]]) {
    for (const colorScheme of ["light", "dark"]) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      await page.screenshot({ path: `${SHOTS}/${name}-${width}-${colorScheme}.png` });
    }
  }
  await page.setViewportSize({ width: 1440, height: 900 });
}

const state = (page, word) => page.locator(`.badge.s-${word}`).first().waitFor({ timeout: 180_000 });

/** What it says it may not is said beside the button. */
async function act(page, word, number, reason) {
  await page.getByRole("button", { name: word, exact: true }).click();
  const dialog = page.getByRole("dialog");
  await dialog.waitFor();
  assert.match(await dialog.innerText(), new RegExp(`fleetctl ${word.toLowerCase()} ${number}`));
  if (reason) await dialog.getByLabel(/reason/i).fill(reason);
  await dialog.getByRole("button", { name: `${word} #${number}` }).click();
  await dialog.waitFor({ state: "detached" });
}

test("a rollout is watched through its waves, without a reload", { skip }, async () => {
  const { page, complaints, close } = await open(`${url}/`);
  await settled(page);
  await shot(page, "rest");
  await detached("v1.0.0", "--waves", "10,50,100");
  await page.getByRole("link", { name: /#1/ }).first().waitFor();
  await state(page, "running");
  await shot(page, "running");
  await page.getByRole("link", { name: /#1/ }).first().click();
  await settled(page);
  await page.getByText(/passed/).first().waitFor({ timeout: 180_000 });
  await state(page, "succeeded");
  await shot(page, "succeeded");
  assert.deepEqual(complaints, []);
  await close();
});

test("a bad release is seen to stop, and why", { skip }, async () => {
  const { page, complaints, close } = await open(`${url}/`);
  await settled(page);
  await detached("v1.2.0", "--waves", "10,50,100");
  await page.getByRole("link", { name: /#2/ }).first().click();
  await state(page, "failed");
  await page.getByText(/503/).first().waitFor();
  await shot(page, "stopped");
  assert.deepEqual(complaints, []);
  await close();
});

test("a deployer pauses, resumes and aborts; a viewer is refused", { skip }, async () => {
  // The rollback of the bad release has to be over before another may begin.
  const { items } = await (await fetch(`${url}/api/v1/rollouts`)).json();
  const next = items[0].number + 1;
  const dora = await as("dora", "deployer");
  const vera = await as("vera", "viewer");
  await detached("v1.1.0", "--waves", "10,50,100", "--bake", "20s");
  for (const { page } of [dora, vera]) {
    await page.goto(`${url}/rollouts/${next}`);
    await settled(page);
  }
  await act(dora.page, "Pause", next, "lunch");
  await state(dora.page, "paused");
  await dora.page.getByText("paused by dora: lunch").first().waitFor();
  // Whoever only looks sees it at once, and is told why there is nothing to press.
  await state(vera.page, "paused");
  const resume = vera.page.getByRole("button", { name: "Resume", exact: true });
  assert.equal(await resume.getAttribute("aria-disabled"), "true");
  await vera.page.getByText(/takes the role deployer in .*; vera is viewer/).first().waitFor();
  const refused = await vera.page.evaluate(async (number) => {
    const headers = { "content-type": "application/json" };
    const answer = await fetch(`/api/v1/rollouts/${number}/resume`, { method: "POST", headers, body: "{}" });
    return answer.status;
  }, next);
  assert.equal(refused, 403);
  await shot(dora.page, "paused");
  await act(dora.page, "Resume", next);
  await state(dora.page, "running");
  await act(dora.page, "Abort", next, "enough");
  await state(dora.page, "aborted");
  await shot(dora.page, "aborted");
  assert.deepEqual(dora.complaints, []);
  await dora.close();
  await vera.close();
});

test("every view has a link that opens it, and breaks no rule", { skip }, async () => {
  for (const path of ["/", "/rollouts", "/rollouts/1", "/rollouts/compare?a=1&b=2", "/nodes", "/nodes/n01", "/releases", "/events", "/session"]) {
    const { page, complaints, close } = await open(`${url}${path}`);
    await settled(page);
    await shot(page, `page${path.replaceAll(/[^a-z0-9]/g, "-")}`);
    assert.deepEqual(complaints, [], path);
    await close();
  }
});
