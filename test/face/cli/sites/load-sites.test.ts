import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { findSite, loadSites } from '../../../../src/face/cli/sites/load-sites.ts';
import { cli } from '../../../support/cli-context.ts';
import { temporaryDirectory } from '../../../support/temporary-directory.ts';

const SITE = 'sites:\n  - { name: hall, mechanism: ssh, machines: [node1] }\n';

/** A home and an installation with these files. */
function place(files: Readonly<Record<string, string>>, env: Readonly<Record<string, string>> = {}) {
  const root = temporaryDirectory(files);
  return {
    root,
    env: { HOME: path.join(root, 'home'), PILOTAGE_INSTALLATION_SITES: path.join(root, 'etc/sites.yaml'), ...env },
    cwd: root,
  };
}

const USER = 'home/.config/pilotage/sites.yaml';

describe('a file of sites', () => {
  test('tells a site with what it leaves out', async () => {
    expect(await findSite(place({ [USER]: SITE }), 'hall')).toEqual({
      name: 'hall',
      transport: 'ssh',
      scheduler: 'process',
      staging: 'archive',
      machines: ['node1'],
      userExtensible: false,
      temporaryDirectory: '/tmp',
      queueOptions: [],
      setup: [],
      timeoutSeconds: 20,
      tries: 2,
    });
  });

  test('tells all that it may hold', async () => {
    const text = `sites:
  - name: hall
    transport: ssh
    scheduler: slurm
    staging: shared
    machines: [a, b.example.org]
    userExtensible: true
    user: maria
    programDirectory: /opt/$USER/bin
    temporaryDirectory: /scratch/$USER
    queueOptions: ['--partition=long']
    setup: [module load ccp4, 'export A="b c"']
    sshConfig: ~/.ssh/other
    timeout: 1m30s
    tries: 5
`;
    const at = place({ [USER]: text });
    expect(await findSite(at, 'hall')).toMatchObject({
      scheduler: 'slurm',
      machines: ['a', 'b.example.org'],
      user: 'maria',
      programDirectory: '/opt/$USER/bin',
      queueOptions: ['--partition=long'],
      setup: ['module load ccp4', 'export A="b c"'],
      sshConfig: path.join(at.env.HOME, '.ssh/other'),
      timeoutSeconds: 90,
      tries: 5,
    });
  });

  test.each([
    ['sits: []', "sites.yaml:1:1: unknown key 'sits': did you mean 'sites'?"],
    ['sites:\n  - name: a\n    machine: [x]', "sites.yaml:3:5: unknown key 'machine': did you mean 'machines'?"],
    [
      'sites:\n  - name: a\n    mechanism: qsub_locl',
      "sites.yaml:3:16: there is no mechanism 'qsub_locl': did you mean 'qsub_local'?",
    ],
    ['sites:\n  - mechanism: ssh', 'sites.yaml:2:5: this site has no name'],
    ['sites:\n  - name: a/b', "sites.yaml:2:11: a site cannot be called 'a/b'"],
    [
      'sites:\n  - name: a\n    mechanism: ssh\n    machines: [x]\n    scheduler: slurm',
      "sites.yaml:2:5: the site 'a' has a mechanism (ssh)",
    ],
    ['sites:\n  - { name: a, mechanism: ssh }', "sites.yaml:2:5: the site 'a' has no machines"],
    [
      'sites:\n  - { name: a, mechanism: ssh, machines: [-oProxyCommand=x] }',
      "'-oProxyCommand=x' is not the name of a machine",
    ],
    ['sites:\n  - { name: a, mechanism: ssh, machines: [x], tries: 0 }', 'expected a whole number, 1 or more'],
    ['sites:\n  - { name: a, mechanism: ssh, machines: [x], timeout: soon }', "'soon' is not a duration"],
    [
      'sites:\n  - { name: a, mechanism: qsub_local }\n  - { name: a, mechanism: slurm_local }',
      "sites.yaml:3:5: a site 'a' is there twice (the first at",
    ],
    ['sites:\n  - name: a\n   mechanism: ssh', 'sites.yaml:3:1: '],
  ])('a mistake is told with its place: %j', async (text, message) => {
    const { code, stderr } = await cli(['site', 'list'], place({ [USER]: text }));
    expect(stderr).toContain(message);
    expect(code).toBe(2);
  });

  test('a bad one costs nothing but what needs it', async () => {
    const at = place({ [USER]: SITE, 'etc/sites.yaml': 'sites: [' });
    expect((await cli(['site', 'list', '--json'], at)).code).toBe(0);
    expect((await cli(['version'], place({ [USER]: 'sites: [' }))).code).toBe(0);
  });
});

describe('which file counts', () => {
  const other = SITE.replace('hall', 'attic');

  test("the user's goes before the installation's as a whole", async () => {
    const at = place({ [USER]: SITE, 'etc/sites.yaml': other });
    const { stdout, stderr } = await cli(['site', 'list', '--json'], at);
    expect(JSON.parse(stdout)).toMatchObject([{ name: 'hall', owner: 'user', file: path.join(at.root, USER) }]);
    expect(stderr).toContain("the installation's does not count beside it");
    expect(await findSite(at, 'attic')).toBeUndefined();
  });

  test("the installation's is taken where the user has none, and can be shown in any case", async () => {
    expect(await findSite(place({ 'etc/sites.yaml': other }), 'attic')).toMatchObject({ name: 'attic' });
    const both = place({ [USER]: SITE, 'etc/sites.yaml': other });
    const { stdout, stderr } = await cli(['site', 'list', '--installation'], both);
    expect(stdout).toContain('attic');
    expect(stderr).toContain('does not count');
    expect((await cli(['site', 'show', 'attic', '--installation', '--json'], both)).stdout).toContain('"installation"');
  });

  test('XDG_CONFIG_HOME says where the user keeps it', async () => {
    const at = place({ 'elsewhere/pilotage/sites.yaml': SITE });
    const env = { ...at.env, XDG_CONFIG_HOME: path.join(at.root, 'elsewhere') };
    expect(loadSites({ ...at, env })?.file).toBe(path.join(at.root, 'elsewhere/pilotage/sites.yaml'));
  });

  test.each([
    [{ PILOTAGE_SITES: 'own.yaml' }, []],
    [{}, ['--sites', 'own.yaml']],
    [{ PILOTAGE_SITES: 'other.yaml' }, ['--sites', 'own.yaml']],
  ])('one that is named is the only one: %j %j', async (env, flags) => {
    const at = place({ [USER]: SITE, 'own.yaml': other }, env);
    const { stdout } = await cli(['site', 'list', '--json', ...flags], at);
    expect(JSON.parse(stdout)).toMatchObject([{ name: 'attic' }]);
  });

  test('one that is named has to be there', async () => {
    const { code, stderr } = await cli(['site', 'list'], place({ [USER]: SITE }, { PILOTAGE_SITES: 'none.yaml' }));
    expect([code, stderr]).toEqual([1, expect.stringContaining("there is no file '")]);
  });

  test('where there is none, it is said how to make one', async () => {
    const { code, stdout, stderr } = await cli(['site', 'list'], place({}));
    expect([code, stdout]).toEqual([0, '']);
    expect(stderr).toContain('pilotage site add NAME --mechanism ssh --machine HOST');
  });
});

describe('queue options', () => {
  const own = 'sites:\n  - { name: hall, mechanism: slurm_local, queueOptions: [--own] }\n';
  const naming = 'sites:\n  - { name: hall, mechanism: slurm_local, queueOptionsFile: named.txt }\n';
  const byUser = 'home/.config/pilotage/queue-options/hall';
  const byInstallation = 'etc/queue-options/hall';
  const optionsOf = async (files: Readonly<Record<string, string>>) =>
    (await findSite(place(files), 'hall'))?.queueOptions;

  test('are lines of a file, without comments', async () => {
    const text = '# for all\n\n--partition=long --time=1:00:00\n#SBATCH --mem=1G\n#$ -q all.q\n';
    expect(await optionsOf({ 'etc/sites.yaml': own, [byInstallation]: text })).toEqual([
      '--partition=long --time=1:00:00',
      '--mem=1G',
      '-q all.q',
    ]);
  });

  test.each<[string, Readonly<Record<string, string>>, string]>([
    [
      "the user's file before the installation's",
      { 'etc/sites.yaml': own, [byUser]: '-u', [byInstallation]: '-i' },
      '-u',
    ],
    [
      "the user's file before the one that the installation's site names",
      { 'etc/sites.yaml': naming, 'etc/named.txt': '-n', [byUser]: '-u' },
      '-u',
    ],
    [
      'the one that the site names before the usual one',
      { 'etc/sites.yaml': naming, 'etc/named.txt': '-n', [byInstallation]: '-i' },
      '-n',
    ],
    ["the user's site before the installation's file", { [USER]: own, [byInstallation]: '-i' }, '--own'],
    ["the installation's file before its site's lines", { 'etc/sites.yaml': own, [byInstallation]: '-i' }, '-i'],
    [
      "the installation's file where the user says nothing",
      { [USER]: own.replace(', queueOptions: [--own]', ''), [byInstallation]: '-i' },
      '-i',
    ],
  ])('%s', async (_, files, expected) => {
    expect(await optionsOf(files)).toEqual([expected]);
  });

  test('a file that is named and is not there is told, and costs the other sites nothing', async () => {
    const two = `${naming}  - { name: attic, mechanism: slurm_local }\n`;
    const at = place({ [USER]: two });
    await expect(findSite(at, 'hall')).rejects.toThrow(
      /names '.*named.txt' as its queueOptionsFile, and there is no such file/,
    );
    expect(await findSite(at, 'attic')).toMatchObject({ queueOptions: [] });
  });
});
