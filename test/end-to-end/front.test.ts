import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { fromBuffer } from 'yauzl';
import { routes } from '../../src/ground/protocol/routes.ts';
import { adminToken, clientOf } from '../support/api.ts';
import { expectOnlyFrom, overflow, type RunningBrowser, startBrowser, tabTo, wcagFaults } from '../support/browser.ts';
import { startCuttingProxy } from '../support/cutting-proxy.ts';
import { CHROMIUM, missing } from '../support/debian.ts';
import { startPathProxy } from '../support/path-proxy.ts';
import { type Running, type RunningServer, startCommand, startServer } from '../support/running-server.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

/** A service that takes whatever a form may hold, and writes it into its results. `gate` is a pipe that holds its task. */
const MODULE = `
import { writeFileSync } from 'node:fs';
import { defineService, pool, Type } from 'pilotage/service';
const file = (options: object = {}) => Type.String(options);
export default defineService({
  name: 'shout',
  title: '<b>Shout</b> & count',
  parameters: Type.Object({
    text: Type.String({ title: 'Text', description: 'What is to be shouted.', minLength: 3, maxLength: 100 }),
    times: Type.Integer({ title: 'Times', minimum: 1, maximum: 5, default: 2 }),
    mode: Type.Union([Type.Literal('loud'), Type.Literal('quiet')], { title: 'Mode', default: 'loud' }),
    head: file({ title: 'Head', file: { accept: ['.txt'], maxBytes: 1000 } }),
    parts: Type.Array(file({ file: {} }), { title: 'Parts' }),
    options: Type.Optional(Type.Object({ n: Type.Integer() }, { title: 'Options' })),
    gate: Type.Optional(Type.String({ title: 'Gate', maxLength: 200 })),
  }),
  results: ['result.txt', 'all/**'],
  preprocess(job) {
    writeFileSync('facts.json', JSON.stringify(job.parameters));
    job.logger.warning('<script>alert("log")</script> ' + job.parameters.text);
  },
  run(job) {
    const { gate, parts, head } = job.parameters;
    job.progress(0.25, '<i>begun</i>');
    const wait = gate ? 'cat "$1" > gone; ' : '';
    const script = 'echo "<script>alert(1)</script>"; ' + wait + 'mkdir all; shift; cp -- "$@" all/; cat -- "$@" > result.txt; cat facts.json >> result.txt';
    return pool({ command: ['sh', '-c', script, 'sh', gate ?? '-', head, ...parts], outputs: ['result.txt', 'all/*'] });
  },
});
`;

/** Another service of the same host, with nothing to it. */
const PLAIN = `
import { defineService, nothing, Type } from 'pilotage/service';
export default defineService({ name: 'plain', parameters: Type.Object({}), run: () => nothing() });
`;

const CHROME = missing(CHROMIUM);
describe.skipIf(CHROME)('the front of a service, in a browser', () => {
  let server: RunningServer;
  let browser: RunningBrowser;
  let home: string;
  let host: Running;
  /** The published link. */
  let link: string;

  beforeAll(async () => {
    server = await startServer(['--workers', '2']);
    home = mkdtempSync(path.join(tmpdir(), 'pilotage-front-'));
    for (const [name, module] of [
      ['shout', MODULE],
      ['plain', PLAIN],
    ] as const) {
      mkdirSync(path.join(home, name, 'incoming'), { recursive: true });
      writeFileSync(path.join(home, name, 'service.ts'), module);
      writeFileSync(
        path.join(home, name, 'service.yaml'),
        `limits: {running: 20${name === 'plain' ? ', waiting: 131' : ''}}\n`,
      );
    }
    host = await startHost();
    ({ link } = await server.json<{ link: string }>(['service', 'link', 'shout', '--expires', '1d']));
    browser = await startBrowser();
  });
  afterAll(async () => {
    await browser?.[Symbol.asyncDispose]();
    host?.child.kill('SIGTERM');
    await host?.done;
    await server?.[Symbol.asyncDispose]();
    rmSync(home, { recursive: true, force: true });
  });

  async function startHost(): Promise<Running> {
    const token = path.join(server.data, 'admin-token');
    const running = startCommand(
      [
        '--server',
        server.url(),
        '--token-file',
        token,
        'service',
        'run',
        path.join(home, 'shout'),
        path.join(home, 'plain'),
      ],
      {},
    );
    await waitUntil('the service is hosted', () => {
      if (running.child.exitCode !== null) throw new Error(running.stderr());
      return running.stderr().includes("the service 'shout'") && running.stderr().includes("the service 'plain'");
    });
    return running;
  }

  const jobs = async () =>
    (await clientOf(server).call(routes.jobs, { params: { project: 'default' }, query: { service: 'shout' } })).jobs;
  let before = 0;
  beforeEach(async () => {
    before = (await jobs()).length;
  });
  const newJobs = async () => (await jobs()).length - before;

  /** A pipe: who opens it waits until the test lets it go on. It is let go when the test ends, too. */
  function makeGate(): { file: string; open(): void } {
    const file = path.join(temporaryDirectory(), 'gate');
    execFileSync('mkfifo', [file]);
    let isOpen = false;
    const open = (): void => {
      if (!isOpen) startCommandShell(`exec 3<> "$0"; : >&3`, file);
      isOpen = true;
    };
    return { file, open };
  }

  /** The usual fields, filled in. */
  async function fillIn(page: Page, over: { text?: string; gate?: string } = {}): Promise<void> {
    await page.getByLabel('Text').fill(over.text ?? 'hear ye');
    await fileField(page, 'Head').setInputFiles(textFile('head.txt', 'head\n'));
    if (over.gate) await page.getByLabel('Gate').fill(over.gate);
  }
  const submitButton = (page: Page) => page.getByRole('button', { name: 'Submit' });
  async function submit(page: Page): Promise<void> {
    await submitButton(page).click();
    await page.waitForURL('**/jobs/default/**');
  }
  const state = (page: Page, word: string) => page.locator('h2 .badge', { hasText: new RegExp(`^${word}$`) }).waitFor();
  /** As a program asks. */
  const statusOf = async (url: string): Promise<[number, string | null]> => {
    const answer = await fetch(url);
    await answer.text();
    return [answer.status, answer.headers.get('retry-after')];
  };

  test('by keyboard alone a job with several files is added, and its results are fetched', async () => {
    const seen = await browser.open();
    const { page } = seen;
    const directory = temporaryDirectory({ 'one.dat': 'one\n', 'two.dat': 'two\n' });
    // As long as somebody listens the browser asks the test for files, and opens no window of its own.
    page.on('filechooser', () => {});
    await page.goto(link);
    await page.getByLabel('Text').waitFor();
    expect(page.url()).not.toContain('#');
    await page.keyboard.press('Tab');
    expect(await page.locator(':focus').textContent()).toBe('Skip to the content');
    await tabTo(page, page.getByLabel('Text'));
    await page.keyboard.type('hear ye');
    await tabTo(page, page.getByLabel('Times'));
    await page.keyboard.press('ArrowUp');
    await tabTo(page, page.getByLabel('loud'));
    await page.keyboard.press('ArrowDown');
    await choose(page, 'Head', textFile('head.txt', 'head\n'));
    await choose(page, 'Parts', path.join(directory, 'one.dat'));
    await choose(page, 'Parts', textFile('never.dat', 'never\n'), false);
    await choose(page, 'Parts', path.join(directory, 'two.dat'), false);
    await tabTo(page, page.getByRole('button', { name: 'Remove never.dat' }));
    await page.keyboard.press('Enter');
    await tabTo(page, page.getByLabel('Name of the job'));
    await page.keyboard.type('crier');
    await tabTo(page, submitButton(page));
    await page.keyboard.press('Enter');
    await page.waitForURL('**/jobs/default/**');
    await page.getByText('Keep this link').waitFor();
    await state(page, 'complete');
    expect(await page.title()).toMatch(/^complete · job \d+/);
    const result = page.getByRole('link', { name: 'result.txt' });
    await tabTo(page, result);
    const facts = { text: 'hear ye', times: 3, mode: 'quiet', head: 'head.txt', parts: ['one.dat', 'two.dat'] };
    const text = String(await download(page, () => page.keyboard.press('Enter')));
    expect(text.startsWith('head\none\ntwo\n')).toBe(true);
    expect(JSON.parse(text.slice('head\none\ntwo\n'.length))).toEqual(facts);
    const zip = await download(page, () => page.getByRole('link', { name: 'All as zip' }).click());
    expect(await namesInZip(zip)).toEqual(['all/head.txt', 'all/one.dat', 'all/two.dat', 'result.txt']);
    expect(await newJobs()).toBe(1);
    expectOnlyFrom(server.url(), seen);
    expect(seen.offences).toEqual([]);
    expect(seen.requests.filter((url) => url.includes('pilotage_') && !url.includes('#'))).toEqual([]);
  });

  async function choose(page: Page, label: string, file: string | ReturnType<typeof textFile>, isAhead = true) {
    const input = fileField(page, label);
    if (isAhead) await tabTo(page, input);
    else await input.and(page.locator(':focus')).waitFor({ state: 'attached' });
    const [chooser] = await Promise.all([page.waitForEvent('filechooser'), page.keyboard.press('Enter')]);
    await chooser.setFiles(file);
    const name = typeof file === 'string' ? path.basename(file) : file.name;
    await page.locator('.files').getByText(name).waitFor();
  }

  async function download(page: Page, act: () => Promise<void>): Promise<Buffer> {
    const [made] = await Promise.all([page.waitForEvent('download'), act()]);
    return readFileSync(await made.path());
  }

  test('what is wrong is said next to its field, and nothing is sent', async () => {
    const { page, requests } = await browser.open();
    await page.goto(link);
    await page.getByLabel('Text').fill('ab');
    await page.getByLabel('Times').fill('9');
    await fileField(page, 'Head').setInputFiles(textFile('head.pdb', ''));
    await fileField(page, 'Parts').setInputFiles([textFile('a\u202etxt.dat', 'x')]);
    await submitButton(page).click();
    const wrong = {
      Text: 'At least 3 characters, and here are 2.',
      Times: 'At most 5.',
      Head: "'head.pdb' is no file for 'head', which takes .txt.",
      Parts: 'invisible characters',
    };
    for (const [label, text] of Object.entries(wrong)) {
      const field = ['Head', 'Parts'].includes(label) ? fileField(page, label) : page.getByLabel(label);
      expect(await field.getAttribute('aria-invalid'), label).toBe('true');
      const error = page.locator(`#${(await field.getAttribute('aria-describedby'))?.split(' ').at(-1)}`);
      expect(await error.textContent()).toContain(text);
    }
    expect(await page.getByLabel('Text').and(page.locator(':focus')).count()).toBe(1);
    expect(await page.getByRole('alert').textContent()).toContain('4 fields need another look');
    expect(await wcagFaults(page)).toEqual([]);
    await page.getByLabel('Text').fill('abc');
    expect(await page.getByLabel('Text').getAttribute('aria-invalid')).toBe('false');
    await page.getByLabel('Times').press('End');
    await page.getByLabel('Times').pressSequentially('e');
    await submitButton(page).click();
    await page.getByText('This is not a number.').waitFor();
    expect(requests.filter((url) => url.endsWith('/jobs'))).toEqual([]);
    expect(await newJobs()).toBe(0);
  });

  test('what only the server finds wrong is told in its words, and can be mended', async () => {
    const { page } = await browser.open();
    await page.goto(link);
    await fillIn(page);
    await page.getByLabel('Options').fill('{"n": "many"}');
    await submitButton(page).click();
    const alert = page.getByRole('alert');
    await alert.getByText('The server did not take this job').waitFor();
    expect(await alert.textContent()).toMatch(/n\b.*integer/);
    expect(await newJobs()).toBe(0);
    await page.getByLabel('Options').fill('{"n": 1}');
    await submit(page);
    expect(await newJobs()).toBe(1);
  });

  test("a job's page and its results say by their status how they stand; whoever has the link may cancel it", async () => {
    const { page, offences } = await browser.open();
    const gate = makeGate();
    await page.goto(link);
    await fillIn(page, { gate: gate.file });
    await submit(page);
    await state(page, 'running');
    await page.getByRole('progressbar', { name: 'Progress of the job' }).waitFor();
    expect(await page.getByText('25 %').textContent()).toContain('25 % · <i>begun</i>');
    const url = page.url();
    expect(await statusOf(url)).toEqual([503, expect.stringMatching(/^\d+$/)]);
    expect(await statusOf(`${url}x`)).toEqual([404, null]);
    expect(await statusOf(url.replace(/\/default\/\d+\//, '/default/999999/'))).toEqual([404, null]);
    await page.getByRole('button', { name: 'Cancel the job' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('button', { name: 'Let it run' }).click();
    await dialog.waitFor({ state: 'hidden' });
    await page.getByRole('button', { name: 'Cancel the job' }).click();
    await dialog.getByRole('button', { name: 'Cancel the job' }).click();
    await state(page, 'cancelled');
    expect(await statusOf(url)).toEqual([410, null]);
    expect(offences).toEqual([]);
    await page.goto(`${url}x`);
    await page.getByRole('alert').getByText('There is no such job').waitFor();
  });

  test('what others wrote is text, wherever it is shown', async () => {
    const seen = await browser.open();
    const { page, offences } = seen;
    const evil = '<img src=x onerror=alert(1)>';
    await page.goto(link);
    await page.getByRole('heading', { level: 1, name: '<b>Shout</b> & count', exact: true }).waitFor();
    await fillIn(page, { text: evil });
    await page
      .getByLabel('Parts')
      .setInputFiles([textFile(`${evil}.txt`, 'x'), textFile("it's & <b>.html", '<script>alert(2)</script>')]);
    await page.locator('.files').getByText(`${evil}.txt`).waitFor();
    await page.getByLabel('Name of the job').fill('</title><script>alert(3)</script>');
    await submit(page);
    await state(page, 'complete');
    expect(await page.getByRole('heading', { level: 1 }).textContent()).toBe('</title><script>alert(3)</script>');
    expect(await page.locator('dd', { hasText: evil }).first().textContent()).toBe(evil);
    await page.getByRole('region', { name: 'Log of the job' }).getByText('<script>alert("log")</script>').waitFor();
    await page.locator('summary').first().press('Enter');
    await page
      .getByRole('region', { name: /^Log of task/ })
      .getByText('<script>alert(1)</script>')
      .waitFor();
    const bytes = await download(page, () => page.getByRole('link', { name: "all/it's & <b>.html" }).click());
    expect(String(bytes)).toBe('<script>alert(2)</script>');
    await page.goto(`${server.url()}/services/default/shout/queue#${adminToken(server)}`);
    await page.getByText('</title><script>alert(3)</script>').waitFor();
    expect(offences).toEqual([]);
    expect(await page.locator('img, b.evil, main script').count()).toBe(0);
    expectOnlyFrom(server.url(), seen);
  });

  test.each([
    ['a telephone, dark', { viewport: { width: 360, height: 740 }, colorScheme: 'dark', hasTouch: true }],
    ['a desk, light', { viewport: { width: 1280, height: 900 }, colorScheme: 'light' }],
  ] as const)('on %s each page fits, and has what people with disabilities need', async (_where, options) => {
    const { page, offences } = await browser.open(options);
    const look = async (): Promise<void> => {
      expect(await overflow(page), page.url()).toBe(0);
      expect(await wcagFaults(page), page.url()).toEqual([]);
    };
    await page.goto(server.url());
    await page.getByLabel('Token').waitFor();
    await look();
    await page.getByLabel('Token').fill(adminToken(server));
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: '<b>Shout</b> & count' }).waitFor();
    await look();
    await page.getByRole('listitem').filter({ hasText: 'Shout' }).getByRole('link', { name: 'Add a job' }).click();
    await fillIn(page, { text: 'a-word-that-does-not-end-'.repeat(4) });
    await fileField(page, 'Parts').setInputFiles([textFile(`${'long-'.repeat(30)}.txt`, 'x')]);
    await look();
    await submit(page);
    await state(page, 'complete');
    await page.getByRole('link', { name: 'result.txt' }).waitFor();
    await page.locator('summary').first().click();
    await page.getByRole('region', { name: /^Log of task/ }).waitFor();
    await look();
    await page.goto(`${server.url()}/services/default/shout/queue`);
    await page.getByRole('row').nth(1).waitFor();
    expect((await page.locator('caption').boundingBox())?.height).toBeLessThan(100);
    await look();
    expect(offences).toEqual([]);
  });

  test('the pages may be shown below a path of another server', async () => {
    const outer = await startPathProxy(server.url(), '/group/pilotage');
    onTestFinished(() => outer.close());
    const { page, offences, requests } = await browser.open();
    await page.goto(link.replace(server.url(), outer.url));
    await fillIn(page);
    await submit(page);
    await state(page, 'complete');
    expect(String(await download(page, () => page.getByRole('link', { name: 'result.txt' }).click()))).toContain(
      'head\n',
    );
    await page.getByRole('link', { name: 'Queue' }).click();
    await page.getByRole('row').nth(1).waitFor();
    await page.getByRole('link', { name: 'Pilotage' }).click();
    await page.getByText('Your token opens the pages of services').waitFor();
    expect(requests.filter((url) => !url.startsWith(outer.url))).toEqual([]);
    expect(offences).toEqual([]);
  });

  test('an upload that breaks off makes no job; trying again makes one', async () => {
    const proxy = await startCuttingProxy(server.url());
    onTestFinished(() => proxy.close());
    const { page } = await browser.open();
    await page.goto(link.replace(server.url(), proxy.url));
    await fillIn(page);
    const large = path.join(temporaryDirectory(), 'large.dat');
    writeFileSync(large, Buffer.alloc(30_000_000, 'x'));
    await fileField(page, 'Parts').setInputFiles(large);
    proxy.cutAfter(10_000_000, 'up');
    // Else the browser sends it again by itself.
    proxy.block(true);
    await submitButton(page).click();
    await page.getByRole('alert').getByText('The connection broke').waitFor();
    expect(proxy.cuts).toBe(1);
    expect(await newJobs()).toBe(0);
    expect(await page.locator('.files').getByText('large.dat').count()).toBe(1);
    proxy.block(false);
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.waitForURL('**/jobs/default/**');
    expect(await newJobs()).toBe(1);
  });

  test('when the answer is lost, trying again finds the job that is there', async () => {
    const proxy = await startCuttingProxy(server.url());
    onTestFinished(() => proxy.close());
    const { page } = await browser.open();
    await page.goto(link.replace(server.url(), proxy.url));
    await fillIn(page);
    proxy.cutAfter(1, 'down');
    proxy.block(true);
    await submitButton(page).click();
    await page.getByRole('alert').getByText('The connection broke').waitFor();
    await waitUntil('the job is there', async () => (await newJobs()) === 1);
    proxy.block(false);
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.waitForURL('**/jobs/default/**');
    await state(page, 'complete');
    expect(await newJobs()).toBe(1);
  });

  test('a browser that sends a form again by itself makes no second job', async () => {
    const proxy = await startCuttingProxy(server.url());
    onTestFinished(() => proxy.close());
    const { page } = await browser.open();
    await page.goto(link.replace(server.url(), proxy.url));
    await fillIn(page);
    proxy.cutAfter(1, 'down');
    await submit(page);
    expect(proxy.cuts).toBe(1);
    await state(page, 'complete');
    expect(await newJobs()).toBe(1);
  });

  test('an upload shows how far it is, and can be called off', async () => {
    const { page } = await browser.open();
    const network = await page.context().newCDPSession(page);
    await page.goto(link);
    await fillIn(page);
    const large = path.join(temporaryDirectory(), 'large.dat');
    writeFileSync(large, Buffer.alloc(20_000_000, 'x'));
    await fileField(page, 'Parts').setInputFiles(large);
    const slowly = { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 2_000_000 };
    await network.send('Network.emulateNetworkConditions', slowly);
    await submitButton(page).click();
    await page.getByText(/^\d+ % · [\d.]+ MiB of 19\.1 MiB$/).waitFor();
    await page.getByRole('button', { name: 'Cancel the upload' }).click();
    await page.getByRole('progressbar').waitFor({ state: 'hidden' });
    expect(await newJobs()).toBe(0);
  });

  test('a server that is restarted is waited for', async () => {
    const { page, offences } = await browser.open();
    const gate = makeGate();
    await page.goto(link);
    await fillIn(page, { gate: gate.file });
    await submit(page);
    await state(page, 'running');
    await server.kill('SIGKILL');
    await page.getByText('No answer from the server, trying again').waitFor();
    await server.restart();
    await page.getByText('No answer from the server').waitFor({ state: 'hidden' });
    gate.open();
    await state(page, 'complete');
    await page.getByRole('link', { name: 'result.txt' }).waitFor();
    expect(offences).toEqual([]);
  });

  test('a token is asked for, kept for the tab, and forgotten; one that is not good is told so', async () => {
    const { page, requests, offences } = await browser.open();
    const [address, token = ''] = link.split('#');
    await page.goto(address!);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('Enter your name and password, or a token.').waitFor();
    expect(await page.getByLabel('Token').getAttribute('type')).toBe('password');
    await page.getByLabel('Token').fill('pilotage_no-such-token-at-all');
    await page.getByLabel('Token').press('Enter');
    await page.getByRole('alert').getByText('This token is not good').waitFor();
    await page.getByLabel('Token').fill(token);
    await page.getByLabel('Token').press('Enter');
    await page.getByLabel('Text').waitFor();
    await page.reload();
    await page.getByLabel('Text').waitFor();
    await page.getByRole('link', { name: 'Queue' }).click();
    await page.getByRole('heading', { name: /^Queue of/ }).waitFor();
    // It opens the pages of services, and tells nothing of the rest.
    await page.goto(server.url());
    await page.getByText('Your token opens the pages of services and no lists').waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.goto(address!);
    await page.getByLabel('Token').waitFor();
    expect(await page.evaluate('sessionStorage.length + localStorage.length + document.cookie.length')).toBe(0);
    expect(requests.filter((url) => url.includes(token) && !url.includes('#'))).toEqual([]);
    expect(offences).toEqual([]);
  });

  test('name and password do as well; who signs out ends the session', async () => {
    const admin = clientOf(server);
    await admin.call(routes.addUser, { body: { name: 'anna', password: 'correct horse' } });
    await admin.call(routes.grantProject, { params: { project: 'default', user: 'anna' } });
    const { page, offences } = await browser.open();
    await page.goto(server.url());
    await page.getByLabel('Name').fill('anna');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('Enter your name and password, or a token.').waitFor();
    await page.getByLabel('Password').fill('correct horse');
    await page.getByLabel('Password').press('Enter');
    await page.getByRole('heading', { name: '<b>Shout</b> & count' }).waitFor();
    const token = (await page.evaluate("sessionStorage.getItem('pilotage-token')")) as string;
    expect((await clientOf(server, token).call(routes.whoami)).user).toBe('anna');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('Password').waitFor();
    await waitUntil('the session is over', async () =>
      clientOf(server, token)
        .call(routes.whoami)
        .then(
          () => false,
          () => true,
        ),
    );
    expect(await page.evaluate('sessionStorage.length')).toBe(0);
    expect(offences).toEqual([]);
    await page.getByLabel('Name').fill('anna');
    await page.getByLabel('Password').fill('not it');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('alert').getByText('The name or the password is wrong.').waitFor();
    expect(await page.evaluate('sessionStorage.length')).toBe(0);
  });

  test('files may be dropped on their field, and a click twice makes one job', async () => {
    const { page } = await browser.open();
    await page.goto(link);
    await fillIn(page);
    const dropped = `(() => { const all = new DataTransfer();
      for (const name of ['one.dat', 'two.dat']) all.items.add(new File([name], name)); return all; })()`;
    const parts = page.locator('.drop').filter({ has: fileField(page, 'Parts') });
    await parts.dispatchEvent('drop', { dataTransfer: await page.evaluateHandle(dropped) });
    await parts.getByText('two.dat').waitFor();
    await submitButton(page).dblclick();
    await page.waitForURL('**/jobs/default/**');
    await state(page, 'complete');
    expect(await page.getByRole('link', { name: /^all\// }).allTextContents()).toEqual([
      'all/head.txt',
      'all/one.dat',
      'all/two.dat',
    ]);
    expect(await newJobs()).toBe(1);
  });

  test('a link that was taken back opens nothing more', async () => {
    const { page } = await browser.open();
    const made = await server.json<{ link: string; token: number }>(['service', 'link', 'shout']);
    await server.run(['token', 'revoke', String(made.token)]);
    await page.goto(made.link);
    await page.getByRole('alert').getByText('it may have expired or been revoked').waitFor();
  });

  test('the queue keeps itself up to date, can be gone through, and shows the states that one wants', async () => {
    host.child.kill('SIGTERM');
    await host.done;
    const { page } = await browser.open();
    const client = clientOf(server);
    const add = (name: string) =>
      client.call(routes.createServiceJob, {
        params: { project: 'default', service: 'plain' },
        body: { name },
      });
    for (let at = 0; at < 130; at += 1) await add(`waiting-${at}`);
    await page.goto(`${server.url()}/services/default/plain/queue#${adminToken(server)}`);
    await page.getByText('Its host is away').waitFor();
    await page.getByLabel('waiting 130').check();
    await page.waitForURL('**?state=INCOMING');
    const rows = page.locator('tbody tr');
    await rows.nth(99).waitFor();
    expect(await rows.count()).toBe(100);
    expect(await rows.first().textContent()).toContain('waiting-129');
    await page.getByRole('button', { name: 'Older' }).click();
    await page.getByText('waiting-0', { exact: true }).waitFor();
    expect(await rows.count()).toBe(30);
    expect(await page.getByRole('button', { name: 'Older' }).isDisabled()).toBe(true);
    await page.getByRole('button', { name: 'Newer' }).click();
    await page.getByText('waiting-129', { exact: true }).waitFor();
    await add('a later one');
    await page.getByText('a later one').waitFor();
    await page.reload();
    await page.getByText('a later one').waitFor();
    expect(await page.getByLabel('waiting 131').isChecked()).toBe(true);
    // Who may read the project goes from here to each job.
    await rows.first().getByRole('link').click();
    await page.waitForURL('**/jobs/default/**');
    await page.getByText('a later one').first().waitFor();
    await page.goBack();
    // It takes 131 at the most.
    await page.getByRole('link', { name: 'Add a job' }).click();
    await submitButton(page).click();
    await page.getByRole('alert').getByText('The server takes no job for now').waitFor();
    await page.getByRole('alert').getByText('try again later').waitFor();
  });
});

/** Its button says what to do, and what for. */
function fileField(page: Page, label: string) {
  return page.getByRole('button', { name: new RegExp(`^${label}`) });
}

function textFile(name: string, text: string) {
  return { name, mimeType: 'text/plain', buffer: Buffer.from(text) };
}

function startCommandShell(script: string, argument: string): void {
  execFileSync('sh', ['-c', script, argument], { timeout: 10_000 });
}

function namesInZip(bytes: Buffer): Promise<string[]> {
  const { promise, resolve, reject } = Promise.withResolvers<string[]>();
  fromBuffer(bytes, { lazyEntries: false }, (error, zip) => {
    if (error) return reject(error);
    const names: string[] = [];
    zip.on('entry', ({ fileName }: { fileName: string }) => names.push(fileName));
    zip.on('end', () => resolve(names.sort()));
    zip.on('error', reject);
  });
  return promise;
}
