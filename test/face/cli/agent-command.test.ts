import { expect, test } from 'vitest';
import type { AgentOptions, AskAgent, CliContext, LoginQuestion } from '../../../src/face/cli/context.ts';
import { cli } from '../../support/cli-context.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const SITES = `sites:
  - { name: hall, mechanism: slurm_local }
  - { name: attic, mechanism: slurm_local, queueOptionsFile: none.txt }
`;

/** Runs `agent …` with these sites, and tells what the agent was started with. */
async function run(words: readonly string[], own: Partial<CliContext> = {}, sites = SITES) {
  const root = temporaryDirectory({ 'sites.yaml': sites });
  const started: AgentOptions[] = [];
  const env = { HOME: root, PILOTAGE_SITES: 'sites.yaml', PILOTAGE_SERVER: 'https://server', PILOTAGE_TOKEN_FILE: 't' };
  const agent = async (options: AgentOptions): Promise<number> => started.push(options) - 1;
  return {
    ...(await cli(['agent', ...words], { agent, cwd: root, ...own, env: { ...env, ...own.env } })),
    started,
    root,
  };
}

test('serves all sites; one that cannot be used is left out and named', async () => {
  const { started, stderr, root } = await run(['--project', 'water', '--accept-host-key', 'SHA256:x']);
  expect(stderr).toContain("the site 'attic' is left out: ");
  expect(started).toMatchObject([
    {
      server: 'https://server',
      sites: [{ name: 'hall' }],
      directory: `${root}/.local/share/pilotage/agent`,
      projects: ['water'],
      acceptHostKeys: ['SHA256:x'],
    },
  ]);
  expect(started[0]).not.toHaveProperty('terminal');
});

test.each([
  [{ XDG_DATA_HOME: '/data' }, [], '/data/pilotage/agent'],
  [{ PILOTAGE_AGENT_DIRECTORY: '/given' }, [], '/given'],
  [{ PILOTAGE_AGENT_DIRECTORY: '/given' }, ['--directory', '/flag'], '/flag'],
])('keeps what it has in hand where it is told: %j %j', async (env, words, directory) => {
  expect((await run(words, { env })).started).toMatchObject([{ directory }]);
});

test('does not start without a site, and says how to make one', async () => {
  const { code, stderr, started } = await run([], {}, 'sites: []');
  expect([code, started]).toEqual([2, []]);
  expect(stderr).toContain('pilotage site add NAME --mechanism ssh --machine HOST');
});

test('asks the person at the terminal; what is typed for a host key has to be yes or the key', async () => {
  const typed = ['secret', 'no', 'yes', 'SHA256:abc', 'SHA256:other'];
  const texts: string[] = [];
  const openTerminal: CliContext['openTerminal'] = () => ({
    ask: async ({ text, isHidden }) => {
      texts.push(`${isHidden} ${text}`);
      return typed.shift();
    },
  });
  const { started } = await run([], { openTerminal });
  const never = new AbortController().signal;
  const ask = (question: LoginQuestion) => started[0]?.terminal?.(question, never);
  const password = { machine: 'node1', user: 'maria', kind: 'password', prompt: "maria@node1's password: " } as const;
  const key = { machine: 'node1', kind: 'host-key', prompt: 'unknown SHA256:abc', fingerprint: 'SHA256:abc' } as const;
  expect(await ask({ ...password, wasRefused: true })).toBe('secret');
  expect(texts).toEqual(["true login on maria@node1 (what was given before was refused): maria@node1's password: "]);
  expect([await ask(key), await ask(key), await ask(key), await ask(key)]).toEqual([
    undefined,
    'SHA256:abc',
    'SHA256:abc',
    undefined,
  ]);
});

const NOTHING_ASKED: AskAgent = {
  questions: async () => [],
  answer: async () => true,
  use: async () => [],
  sites: async () => ({ file: '', sites: [] }),
};

test('agent status says which sites changed since the agent was started, queue options too', async () => {
  const before = (await run([])).started[0];
  const saidOf = async (sites: string, file?: string) => {
    const knows = { sites: before?.sites ?? [], file: 'sites.yaml' };
    const root = temporaryDirectory({ 'sites.yaml': sites });
    const env = {
      HOME: root,
      PILOTAGE_SITES: 'sites.yaml',
      PILOTAGE_SERVER: 'https://server',
      PILOTAGE_TOKEN_FILE: 't',
    };
    const told = { ...knows, file: file ?? `${root}/sites.yaml` };
    const askAgent = { ...NOTHING_ASKED, sites: async () => told };
    return (await cli(['agent', 'status'], { askAgent, cwd: root, env })).stderr;
  };
  expect(await saidOf(SITES)).toBe('');
  expect(await saidOf(`# A comment.\n${SITES}`)).toBe('');
  const more = `${SITES}  - { name: cellar, mechanism: slurm_local }\n`;
  expect(await saidOf(more)).toContain('was started before cellar changed in ');
  expect(await saidOf(SITES.replace('slurm_local }', "slurm_local, queueOptions: ['-p long'] }"))).toContain(
    'before hall',
  );
  expect(await saidOf(SITES.replaceAll('hall', 'tower'))).toContain('before hall, tower');
  expect(await saidOf(more, '/another/sites.yaml')).toBe('');
});

test('agent status tells what is asked, and how machines are used', async () => {
  const askAgent: AskAgent = {
    ...NOTHING_ASKED,
    questions: async () => [{ id: 'q', machine: 'node1', kind: 'code', prompt: 'Code:', wasRefused: true }],
    answer: async () => true,
    use: async () => [
      {
        site: 'hall',
        machine: 'node1',
        jobs: 2,
        connections: 1,
        commands: 30,
        schedulerCommands: 12,
        polls: 9,
        intervalMs: 4000,
      },
    ],
  };
  const { code, stdout } = await run(['status'], { askAgent });
  expect(code).toBe(0);
  expect(stdout).toMatch(/node1 +code +the last one was refused +Code:/);
  expect(stdout).toMatch(/hall +node1 +2 +1 +30 +12 +9 +4s/);
  const json = JSON.parse((await run(['login', '--json'], { askAgent })).stdout);
  expect(json).toMatchObject([{ id: 'q', kind: 'code' }]);
});
