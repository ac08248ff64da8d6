// A browser for a test file, and pages that note what a page must never do.
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after } from "node:test";
import { chromium } from "playwright-core";

const PATH = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

// Without a browser these tests are skipped by name; where nothing may be skipped, they fail.
export const skip = existsSync(PATH) || process.env.CI === "true" ? false : `there is no ${PATH}`;

let started;
export const browser = () => (started ??= chromium.launch({ executablePath: PATH, args: FLAGS }));
after(async () => (await started)?.close());

export async function open(url, { width = 1440, height = 900, theme = "dark", lossy = false } = {}) {
  const context = await (await browser()).newContext({ viewport: { width, height }, colorScheme: theme, reducedMotion: "reduce" });
  // Patience for a machine that does much else; what is slow is measured elsewhere.
  context.setDefaultTimeout(90_000);
  const page = await context.newPage();
  const complaints = [];
  // Chromium itself reports what it could not load; a page that has lost its coordinator cannot help that.
  page.on("console", (message) => lossy && message.text().startsWith("Failed to load resource") ? null : complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.exposeFunction("noteViolation", (what) => complaints.push(`policy: ${what}`));
  await page.addInitScript(() => addEventListener("securitypolicyviolation", (event) => noteViolation(`${event.violatedDirective} ${event.blockedURI}`)));
  await page.goto(url);
  return { page, complaints, close: () => context.close() };
}

/** Nothing is a skeleton any more. */
export async function settled(page) {
  await page.waitForFunction(() => document.querySelector("main h1") !== null && document.querySelector(".skeleton") === null && document.querySelector(".pulse.connecting") === null);
}

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Every rule of accessibility that the page breaks now, as a sentence. */
export async function broken(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  return violations.flatMap(({ id, nodes }) => nodes.slice(0, 3).map(({ html, failureSummary }) => `${id}: ${html.slice(0, 160)} ${failureSummary}`));
}
