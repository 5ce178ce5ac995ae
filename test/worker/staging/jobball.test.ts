import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import yazl from 'yazl';
import { type JobballFormat, namesIn, packJobball } from '../../../src/worker/staging/jobball/pack-jobball.ts';
import { findArchiver, packScript, unpackScript } from '../../../src/worker/staging/jobball/remote-archive.ts';
import { unpackJobball } from '../../../src/worker/staging/jobball/unpack-jobball.ts';
import { localTransport } from '../../../src/worker/transport/local-transport.ts';
import { type Needed, skipIfMissing } from '../../support/debian.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const NAMES = ['plain', 'sp ace', 'qu\'o"te', '$(touch hacked)', '-dash', 'ü€'];

function neededFor(program: string): Needed {
  return { program: `/usr/bin/${program}`, packages: [program] };
}

/** A machine on which only these programs are. */
function machineWith(...programs: string[]) {
  const bin = temporaryDirectory();
  for (const program of ['sh', 'mkdir', 'rm', 'tr', 'wc', 'cat', 'gzip', 'touch', ...programs]) {
    const real = ['/usr/bin', '/bin'].map((one) => path.join(one, program)).find((one) => existsSync(one));
    if (real) symlinkSync(real, path.join(bin, program));
  }
  const transport = localTransport({ environment: { PATH: bin } });
  onTestFinished(() => transport.close());
  return transport;
}

function project(): string {
  const directory = temporaryDirectory({ 'record.json': '{}' });
  mkdirSync(path.join(directory, 'project/deep/empty'), { recursive: true });
  for (const name of NAMES) writeFileSync(path.join(directory, 'project/deep', name), name);
  writeFileSync(path.join(directory, 'project/run.sh'), 'x', { mode: 0o750 });
  chmodSync(path.join(directory, 'project/run.sh'), 0o750);
  symlinkSync('deep/plain', path.join(directory, 'project/link'));
  return directory;
}

function expectProject(at: string): void {
  for (const name of NAMES) expect(readFileSync(path.join(at, 'project/deep', name), 'utf8')).toBe(name);
  expect(lstatSync(path.join(at, 'project/run.sh')).mode & 0o777).toBe(0o750);
  expect(readlinkSync(path.join(at, 'project/link'))).toBe('deep/plain');
  expect(existsSync(path.join(at, 'record.json'))).toBe(true);
}

/** Python from Debian, wherever the first one in the path comes from. */
const WAYS: [string, JobballFormat, string[]][] = [
  ['tar', 'tar', ['tar']],
  ['Python 3', 'zip', ['python3']],
  ['zip, unzip and Python 3', 'zip', ['zip', 'unzip', 'python3']],
  ['zip, unzip and tar, where names are odd', 'tar', ['zip', 'unzip', 'tar']],
];

describe.each(WAYS)('a jobball and a machine with %s', (_name, format, programs) => {
  test('goes out and comes back as it was', async ({ skip }) => {
    for (const program of programs) skipIfMissing(skip, neededFor(program));
    const machine = machineWith(...programs);
    const packed = project();
    expect((await findArchiver(machine)).formatFor(await namesIn(packed))).toBe(format);
    const at = temporaryDirectory();
    const out = path.join(at, `setup.${format}`);
    await packJobball(packed, out, format);
    const there = path.join(at, "th'ere $(x)");
    const unpack = unpackScript({ archive: out, to: there, names: await namesIn(packed) }, format);
    expect(await machine.run(unpack)).toMatchObject({ exitCode: 0 });
    expectProject(there);
    const names = ['record.json', 'project/run.sh', 'project/link', ...NAMES.map((name) => `project/deep/${name}`)];
    writeFileSync(path.join(at, 'names'), names.map((name) => `${name}\0`).join(''));
    const back = path.join(at, `finished.${format}`);
    const pack = packScript({ directory: there, list: path.join(at, 'names'), archive: back, names }, format);
    expect(await machine.run(pack)).toMatchObject({ exitCode: 0 });
    await unpackJobball(back, path.join(at, 'back'), format);
    expectProject(path.join(at, 'back'));
    expect(existsSync(path.join(at, 'hacked'))).toBe(false);
  });
});

test('plain names go by zip and unzip alone', async ({ skip }) => {
  for (const program of ['zip', 'unzip']) skipIfMissing(skip, neededFor(program));
  expect((await findArchiver(machineWith('zip', 'unzip', 'tar'))).formatFor(['a b', 'project/$(x)'])).toBe('zip');
});

test('a name with a line break comes back too', async () => {
  const machine = machineWith('tar');
  const names = ['new\nline'];
  const format = (await findArchiver(machine)).formatFor(names);
  const at = temporaryDirectory({ 'here/new\nline': 'x' });
  const list = path.join(at, 'names');
  writeFileSync(list, 'new\nline\0');
  const back = path.join(at, 'back');
  const pack = packScript({ directory: path.join(at, 'here'), list, archive: back, names }, format);
  expect(await machine.run(pack)).toMatchObject({ exitCode: 0 });
  await unpackJobball(back, path.join(at, 'to'), format);
  expect(readFileSync(path.join(at, 'to/new\nline'), 'utf8')).toBe('x');
});

test('a machine that can neither pack nor unpack is told apart, with what to install', async () => {
  await expect(findArchiver(machineWith())).rejects.toThrow(/nothing to pack and unpack archives with: install zip/);
});

describe('an archive that came back', () => {
  const zipOf = async (entries: readonly { name: string; text: string; mode?: number }[]): Promise<string> => {
    const file = path.join(temporaryDirectory(), 'finished.zip');
    const zip = new yazl.ZipFile();
    // What yazl refuses to write is written under a name of the same length, and renamed in the bytes.
    for (const { name, text, mode } of entries)
      zip.addBuffer(Buffer.from(text), name.replaceAll('../', 'UP_').replace(/^\//, 'R'), {
        mode: mode ?? 0o100644,
        compress: false,
      });
    zip.end();
    const pieces: Buffer[] = [];
    for await (const piece of zip.outputStream) pieces.push(piece as Buffer);
    const bytes = Buffer.concat(pieces).toString('latin1').replaceAll('UP_', '../').replaceAll('Retc', '/etc');
    writeFileSync(file, Buffer.from(bytes, 'latin1'));
    return file;
  };
  const refused = async (file: string, format: JobballFormat = 'zip') => {
    const directory = temporaryDirectory();
    await expect(unpackJobball(file, path.join(directory, 'to'), format)).rejects.toMatchObject({
      code: 'bad-request',
    });
    expect(existsSync(path.join(directory, 'outside'))).toBe(false);
  };

  test('with ../ in a name is refused, and nothing is written outside', async () => {
    await refused(await zipOf([{ name: '../outside', text: 'x' }]));
    await refused(await zipOf([{ name: 'a/../../outside', text: 'x' }]));
    await refused(await zipOf([{ name: '/etc/outside', text: 'x' }]));
  });

  test('with a link that leads out, or a file below a link, is refused', async () => {
    await refused(await zipOf([{ name: 'link', text: '../../..', mode: 0o120777 }]));
    await refused(await zipOf([{ name: 'link', text: '/etc', mode: 0o120777 }]));
    await refused(
      await zipOf([
        { name: 'link', text: 'd', mode: 0o120777 },
        { name: 'link/x', text: 'x' },
      ]),
    );
  });

  test('that is damaged or no archive at all is refused', async () => {
    const file = await zipOf([{ name: 'a', text: 'hello hello' }]);
    const bytes = readFileSync(file);
    writeFileSync(file, bytes.subarray(0, bytes.length - 10));
    await refused(file);
    writeFileSync(file, 'no zip');
    await refused(file);
    await refused(file, 'tar');
  });

  test('as tar, with links or names that lead out, is refused', async () => {
    const transport = localTransport({ environment: process.env });
    onTestFinished(() => transport.close());
    const at = temporaryDirectory({ 'in/f': 'x', outside: 'y' });
    symlinkSync('../..', path.join(at, 'in/link'));
    const make = async (script: string) => {
      const done = await transport.run(`cd '${at}/in' && ${script}`);
      expect(done).toMatchObject({ exitCode: 0 });
    };
    await make(`tar -czf '${at}/link.tgz' link`);
    await make(`tar -czPf '${at}/up.tgz' ../outside`);
    await make(`mkfifo pipe && tar -czf '${at}/pipe.tgz' pipe`);
    for (const name of ['link', 'up', 'pipe']) await refused(path.join(at, `${name}.tgz`), 'tar');
  });
});
