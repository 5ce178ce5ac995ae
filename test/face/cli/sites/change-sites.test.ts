import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { cli } from '../../../support/cli-context.ts';
import { temporaryDirectory } from '../../../support/temporary-directory.ts';

function place(files: Readonly<Record<string, string>> = {}) {
  const root = temporaryDirectory(files);
  const own = path.join(root, 'home/.config/pilotage/sites.yaml');
  const installation = path.join(root, 'etc/sites.yaml');
  const context = { env: { HOME: path.join(root, 'home'), PILOTAGE_INSTALLATION_SITES: installation }, cwd: root };
  return {
    root,
    own,
    installation,
    run: (...words: string[]) => cli(['site', ...words], context),
    show: async (name: string) => JSON.parse((await cli(['site', 'show', name, '--json'], context)).stdout),
  };
}

const USER = 'home/.config/pilotage/sites.yaml';
const COMMENTED = `# our machines
sites:
  # the big one
  - name: hall
    mechanism: ssh
    machines: [node1, node2] # in the cellar
  # the small one
  - name: attic
    mechanism: slurm_local
`;
const read = (file: string): string => readFileSync(file, 'utf8');

describe('site add', () => {
  test("makes the user's file, for the user alone, with every key", async () => {
    const at = place();
    const words = ['add', 'hall', '--transport', 'ssh', '--scheduler', 'slurm', '--staging', 'archive'];
    const more = [
      '--machine',
      'a',
      '--machine',
      'b',
      '--user-extensible',
      '--user',
      'maria',
      '--program-directory',
      '/opt',
    ];
    const rest = [
      '--temporary-directory',
      '/scratch/$USER',
      '--queue-option',
      '--time=1',
      '--queue-options-file',
      'q.txt',
    ];
    const last = [
      '--setup',
      'module load x',
      '--setup',
      'echo "a b"',
      '--ssh-config',
      '~/c',
      '--timeout',
      '30s',
      '--tries',
      '3',
    ];
    const { code, stderr } = await at.run(...words, ...more, ...rest, ...last);
    expect([code, stderr]).toEqual([0, '']);
    expect(statSync(at.own).mode & 0o777).toBe(0o600);
    mkdirSync(at.root, { recursive: true });
    expect((await at.run('edit', 'hall', '--unset', 'queueOptionsFile')).code).toBe(0);
    expect(await at.show('hall')).toMatchObject({
      transport: 'ssh',
      scheduler: 'slurm',
      staging: 'archive',
      machines: ['a', 'b'],
      userExtensible: true,
      user: 'maria',
      programDirectory: '/opt',
      temporaryDirectory: '/scratch/$USER',
      queueOptions: ['--time=1'],
      setup: ['module load x', 'echo "a b"'],
      sshConfig: path.join(at.root, 'home/c'),
      timeoutSeconds: 30,
      tries: 3,
      use: null,
    });
    expect(read(`${at.own}.bak`)).toContain(`queueOptionsFile: ${path.join(at.root, 'q.txt')}`);
  });

  test('keeps comments and the file before', async () => {
    const at = place({ [USER]: COMMENTED });
    chmodSync(at.own, 0o640);
    await at.run('add', 'third', '--mechanism', 'qsub_local');
    expect(read(at.own)).toContain('# the big one');
    expect(read(at.own)).toContain('# in the cellar');
    expect((await at.run('list')).stdout.match(/^(hall|attic|third)/gm)).toHaveLength(3);
    expect(read(`${at.own}.bak`)).toBe(COMMENTED);
    expect(statSync(at.own).mode & 0o777).toBe(0o640);
    expect(readdirSync(path.dirname(at.own)).sort()).toEqual(['sites.yaml', 'sites.yaml.bak']);
  });

  test.each([
    [['add', 'x', '--mechanism', 'shh', '--machine', 'm'], "there is no mechanism 'shh': did you mean 'ssh'?"],
    [['add', 'x', '--mechanism', 'ssh'], 'has no machines'],
    [['add', 'x'], 'says neither a mechanism'],
    [['add', 'a b', '--mechanism', 'slurm_local'], "a site cannot be called 'a b'"],
    [['add', 'hall', '--mechanism', 'slurm_local'], "there is a site 'hall'"],
    [['add', 'x', '--mechanism', 'ssh', '--machine', 'm', '--staging', 'shared'], 'leave these out'],
    [['edit', 'hall', '--tries', '500'], 'at most 100'],
    [['edit', 'hall', '--rename', 'attic'], "a site 'attic' is there twice"],
    [['edit', 'hal', '--tries', '5'], "there is no site 'hal'"],
    [['edit', 'hall'], 'what is to be changed?'],
    [['edit', 'hall', '--unset', 'machine'], "did you mean 'machines'?"],
    [['add', 'x', '--mechanism', 'slurm_local', '--for', 'me'], "'user' or 'installation'"],
  ])('what is wrong is not saved: %j', async (words, message) => {
    const at = place({ [USER]: COMMENTED });
    const { code, stderr } = await at.run(...words);
    expect(stderr).toContain(message);
    expect(code).toBeGreaterThan(0);
    expect(read(at.own)).toBe(COMMENTED);
    expect(existsSync(`${at.own}.bak`)).toBe(false);
  });

  test("says that the installation's sites do not count any more", async () => {
    const { stderr } = await place({ 'etc/sites.yaml': COMMENTED }).run('add', 'x', '--mechanism', 'slurm_local');
    expect(stderr).toContain("'pilotage site adopt' takes them over");
  });

  test('is no place for what a shell would run: it is written as it is', async () => {
    const at = place();
    const name = `$(touch ${at.root}/ran) "'\``;
    await at.run('add', 'x', '--mechanism', 'slurm_local', '--setup', name, '--program-directory', name);
    expect(await at.show('x')).toMatchObject({ setup: [name], programDirectory: name });
  });
});

describe('site edit', () => {
  test('changes what is said and nothing else; a mechanism takes the place of its parts', async () => {
    const at = place({ [USER]: COMMENTED });
    await at.run('edit', 'hall', '--scheduler', 'slurm', '--machine', 'node3', '--timeout', '5s');
    expect(await at.show('hall')).toMatchObject({ scheduler: 'slurm', machines: ['node3'], timeoutSeconds: 5 });
    await at.run('edit', 'hall', '--mechanism', 'ssh_shared', '--rename', 'cellar');
    expect(await at.show('cellar')).toMatchObject({ scheduler: 'process', staging: 'shared', timeoutSeconds: 5 });
    expect(read(at.own)).toContain('# the small one');
  });

  test('a link stays a link', async () => {
    const at = place({ 'kept/sites.yaml': COMMENTED, 'home/.config/pilotage/x': '' });
    symlinkSync(path.join(at.root, 'kept/sites.yaml'), at.own);
    await at.run('edit', 'hall', '--tries', '7');
    expect(read(path.join(at.root, 'kept/sites.yaml'))).toContain('tries: 7');
  });

  test("the installation's file is written where one may, with a backup", async () => {
    const at = place({ 'etc/sites.yaml': COMMENTED });
    chmodSync(at.installation, 0o644);
    expect((await at.run('edit', 'hall', '--tries', '7')).code).toBe(0);
    expect(read(at.installation)).toContain('tries: 7');
    expect(read(`${at.installation}.bak`)).toBe(COMMENTED);
    expect(statSync(at.installation).mode & 0o777).toBe(0o644);
  });
});

test("the installation's file is refused where one may not write, and nothing changes", async () => {
  // Nobody may make a file there, not even root.
  const installation = '/sys/sites.yaml';
  const root = temporaryDirectory({ [USER]: COMMENTED });
  const context = { env: { HOME: path.join(root, 'home'), PILOTAGE_INSTALLATION_SITES: installation }, cwd: root };
  const words = ['site', 'add', 'x', '--mechanism', 'slurm_local', '--for', 'installation'];
  const { code, stderr } = await cli(words, context);
  expect(code).toBe(2);
  expect(stderr).toMatch(
    /'\/sys\/sites.yaml' cannot be written .*your own file is written with --for user. Nothing was changed/,
  );
  expect((await cli(['site', 'adopt', '--for', 'installation'], context)).code).toBe(2);
});

describe('site remove', () => {
  test('takes one out, and the last only on request', async () => {
    const at = place({ [USER]: COMMENTED, 'etc/sites.yaml': COMMENTED.replaceAll('hall', 'other') });
    expect((await at.run('remove', 'attic')).code).toBe(0);
    const refused = await at.run('remove', 'hall');
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('the only site')]);
    expect((await at.run('remove', 'hall', '--last')).code).toBe(0);
    expect(existsSync(at.own)).toBe(false);
    expect(read(`${at.own}.bak`)).toContain('hall');
    expect((await at.run('list')).stdout).toContain('other');
  });
});

describe('site adopt', () => {
  test("takes the installation's file over, with its comments, and keeps what was there", async () => {
    const mine = 'sites:\n  - { name: mine, mechanism: slurm_local }\n';
    const relative = `${COMMENTED}    queueOptionsFile: attic.txt\n`;
    const at = place({ [USER]: mine, 'etc/sites.yaml': relative, 'etc/attic.txt': '--long' });
    const { code, stdout } = await at.run('adopt');
    expect([code, stdout]).toEqual([0, expect.stringContaining('hall, attic')]);
    expect(read(at.own)).toContain('# the small one');
    expect(read(`${at.own}.bak`)).toBe(mine);
    expect(await at.show('attic')).toMatchObject({ owner: 'user', queueOptions: ['--long'] });
  });

  test('a bad file is not taken over', async () => {
    const at = place({ 'etc/sites.yaml': 'sites: [{ name: x }]' });
    expect((await at.run('adopt')).code).toBe(2);
    expect(existsSync(at.own)).toBe(false);
  });
});
