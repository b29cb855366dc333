// Every screen in light, dark, 320 pixels, right to left and the few colours of a system with high contrast: axe finds
// nothing, nothing is wider than the window, and the page does nothing that its policy forbids.
// PHANTOM_SCREENSHOTS=folder keeps pictures; PHANTOM_SCREENS=regexp picks some.
import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Page } from "playwright-core";
import { IS_LONG } from "../amounts.ts";
import { noonZone, openStage, SKIP, type Stage } from "./browser.ts";
import { laidOut } from "./scene.ts";
import { SCREENS } from "./screens.ts";
import { soon } from "./soon.ts";

declare const PROJECT: string;

const MODES = {
  light: { viewport: { width: 1100, height: 760 }, colorScheme: "light", direction: "ltr" },
  dark: { viewport: { width: 1100, height: 760 }, colorScheme: "dark", direction: "ltr" },
  narrow: { viewport: { width: 320, height: 640 }, colorScheme: "light", direction: "ltr" },
  rtl: { viewport: { width: 1100, height: 760 }, colorScheme: "light", direction: "rtl" },
  forced: { viewport: { width: 1100, height: 760 }, colorScheme: "dark", direction: "ltr" },
} as const;

const pictures = process.env["PHANTOM_SCREENSHOTS"];
const wanted = new RegExp(process.env["PHANTOM_SCREENS"] ?? "");

/** PHANTOM_PART=1/4: every fourth screen, from the second on. */
const [part = 0, parts = 1] = (process.env["PHANTOM_PART"] ?? "0/1").split("/").map(Number);

type Mode = keyof typeof MODES;
const ALL = Object.keys(MODES) as readonly Mode[];

/** In which modes axe looks at a screen: in all, or in the short form in one, by turns. */
const looked = (place: number): readonly Mode[] => (IS_LONG ? ALL : ALL.filter((_, mode) => mode === place % ALL.length));

/** In these the window or the direction is another one: every screen has to fit. */
const LAID_OUT: readonly Mode[] = ["narrow", "rtl"];

interface Finding {
  readonly id: string;
  readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
}

/** What axe finds of WCAG 2.2, A and AA. */
async function findings(page: Page): Promise<readonly string[]> {
  const found: readonly Finding[] = await page.evaluate(async () => {
    const { axe: checker } = window as unknown as { axe: { run(at: Document, how: object): Promise<{ violations: Finding[] }> } };
    const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
    return (await checker.run(document, { runOnly: tags, resultTypes: ["violations"] })).violations;
  });
  return found.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}\n${failureSummary ?? ""}`));
}

describe("screens", { skip: SKIP }, () => {
  let stage: Stage;
  let axe: string;

  before(async () => {
    stage = await openStage();
    axe = await readFile(join(PROJECT, "web/node_modules/axe-core/axe.min.js"), "utf8");
    if (pictures !== undefined) await mkdir(pictures, { recursive: true });
  });
  after(() => stage.close());

  for (const [place, screen] of SCREENS.filter(({ name }) => wanted.test(name)).entries()) {
    if (place % parts !== part) continue;
    test(screen.name, async () => {
      const context = await stage.browser.newContext({ viewport: MODES.light.viewport, reducedMotion: "reduce", timezoneId: noonZone() });
      try {
        const page = await context.newPage();
        page.setDefaultTimeout(120_000);
        const faults: string[] = [];
        page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
        page.on("pageerror", (error) => faults.push(String(error)));
        await page.goto(`${stage.url}?${screen.query}`);
        await screen.act(page);
        await page.evaluate(axe);
        const axed = looked(place);
        for (const mode of pictures === undefined ? ALL.filter((one) => axed.includes(one) || LAID_OUT.includes(one)) : ALL) {
          await wear(page, mode);
          if (pictures !== undefined) await page.screenshot({ path: join(pictures, `${screen.name}-${mode}.png`) });
          await soon(async () => {
            const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
            assert.ok(wide <= 0, `${wide} pixels wider than the window in ${mode}`);
          });
          // A busy browser shows the colours of the last mode for a moment.
          if (axed.includes(mode)) await soon(async () => assert.deepEqual(await findings(page), [], mode), 20);
        }
        assert.deepEqual(faults, []);
      } finally {
        await context.close();
      }
    });
  }
});

/** Changes how the page is looked at. */
async function wear(page: Page, mode: Mode): Promise<void> {
  const { viewport, colorScheme, direction } = MODES[mode];
  await page.emulateMedia({ colorScheme, forcedColors: mode === "forced" ? "active" : "none" });
  await page.setViewportSize(viewport);
  await page.evaluate((dir) => (document.documentElement.dir = dir), direction);
  await laidOut(page, viewport.width, viewport.height);
}
