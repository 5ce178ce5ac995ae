import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import axe from 'axe-core';
import { type BrowserContextOptions, chromium, type Locator, type Page } from 'playwright-core';
import { expect, onTestFinished } from 'vitest';
import { CHROMIUM } from './debian.ts';

/** Nothing outside is looked up, and nothing is sent home. */
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-dev-shm-usage',
  '--disable-domain-reliability',
  '--disable-client-side-phishing-detection',
  '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost',
];

/** A page, and what must not happen on it. */
export interface WatchedPage {
  readonly page: Page;
  /** Addresses of all requests. */
  readonly requests: readonly string[];
  /** Violations of the policy, errors of scripts, windows of scripts: of a page that is in order there are none. */
  readonly offences: readonly string[];
}

export interface RunningBrowser {
  /** A window of its own, with nothing from the ones before; it closes with the test. */
  open(options?: BrowserContextOptions): Promise<WatchedPage>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Debian's Chromium, with a home of its own. */
export async function startBrowser(): Promise<RunningBrowser> {
  const home = mkdtempSync(path.join(tmpdir(), 'pilotage-browser-'));
  const env = { ...process.env, HOME: home, XDG_CONFIG_HOME: home, XDG_CACHE_HOME: home } as Record<string, string>;
  const browser = await chromium.launch({ executablePath: CHROMIUM.program, headless: true, args: FLAGS, env });
  return {
    open: async (options) => {
      const context = await browser.newContext({ locale: 'en-GB', timezoneId: 'UTC', ...options });
      onTestFinished(() => context.close());
      return watch(await context.newPage());
    },
    [Symbol.asyncDispose]: async () => {
      await browser.close();
      rmSync(home, { recursive: true, force: true });
    },
  };
}

function watch(page: Page): WatchedPage {
  const requests: string[] = [];
  const offences: string[] = [];
  page.on('request', (request) => requests.push(request.url()));
  page.on('pageerror', (error) => offences.push(String(error)));
  page.on('dialog', (dialog) => {
    offences.push(`a window: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on('console', (message) => {
    // That a call was refused, or got no answer, is seen on the page.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
      offences.push(message.text());
  });
  return { page, requests, offences };
}

/** Goes on with the tabulator until it is there, as somebody without a mouse does. */
export async function tabTo(page: Page, target: Locator): Promise<void> {
  const focused = target.and(page.locator(':focus'));
  for (let steps = 0; steps < 100; steps += 1) {
    await page.keyboard.press('Tab');
    if ((await focused.count()) === 1) return;
  }
  throw new Error(`the tabulator does not lead to ${String(target)}`);
}

/** What the rules of WCAG 2.1 AA find wrong on the page. */
export async function wcagFaults(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const { violations } = (await page.evaluate(
    `axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'] })`,
  )) as axe.AxeResults;
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`),
  );
}

/** So many pixels of it are beyond the right edge. */
export async function overflow(page: Page): Promise<number> {
  return (await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')) as number;
}

export function expectOnlyFrom(server: string, { requests }: WatchedPage): void {
  const foreign = requests.filter((url) => new URL(url).origin !== new URL(server).origin);
  expect(foreign).toEqual([]);
}
