import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { messageOf } from '../../../ground/base/errors.ts';
import type { FileStore } from '../../../ground/client/file-store.ts';
import { uploadPath, uploadPaths } from '../../../ground/client/upload.ts';
import { removeDirectory } from '../../../ground/content/remove-directory.ts';
import type { Report } from '../../../ground/protocol/exchange.ts';
import type { RecordEntry } from '../../../ground/protocol/job.ts';
import { INLINE_LOG_BYTES } from '../../../ground/protocol/limits.ts';
import type { OutputFile } from '../../../ground/protocol/output-file.ts';
import { packScript } from '../../staging/jobball/remote-archive.ts';
import { unpackJobball } from '../../staging/jobball/unpack-jobball.ts';
import { retryWhileAway } from '../../staging/retry.ts';
import { quote } from '../../transport/quote.ts';
import { workOf } from '../batch-job.ts';
import type { JobOutput } from '../job-output.ts';
import { FILES } from '../job-script.ts';
import type { Ending, JournalEntry } from '../journal.ts';
import { readRecordLines, type SubJob } from '../read-record.ts';
import { chooseOutputs, parseListing, parseSums } from '../remote-files.ts';
import { type Context, withMachine } from './context.ts';
import { withRoom } from './with-room.ts';

const TIMEOUT_MS = 3_600_000;
const LISTING_BYTES = 256 * 1024 * 1024;

/** The first thing wrong with the outputs. The program's own failure goes before it. */
type Fault = Pick<Ending, 'reason' | 'message'>;

interface Brought {
  readonly outputs: readonly OutputFile[];
  readonly entries: readonly RecordEntry[];
  readonly subJobs: readonly SubJob[];
  readonly stdout?: Report['stdout'];
  readonly stderr?: Report['stderr'];
  readonly fault?: Fault;
  /** They could not be had: on the machine they stay. */
  readonly isLeft?: boolean;
}

/**
 * Brings back what the job left: with `archive` staging one jobball with the outputs, the logs and the record; with
 * `shared` the record and the logs alone. What arrived is compared with the digests that the machine counted.
 */
export async function bringBack(context: Context, entry: JournalEntry, output: JobOutput): Promise<JournalEntry> {
  context.show({ phase: 'fetching' });
  const brought = await tryToBring(context, entry);
  const ending = withFault(entry.ending as Ending, brought.fault);
  const { task, attempt, secret } = entry.claim;
  const begun = entry.startedAt ?? entry.submittedAt;
  const report: Report = {
    task,
    attempt,
    secret,
    ...ending,
    ...(begun === undefined ? {} : { startedAt: begun, wallSeconds: wallSecondsOf(brought.entries, begun) }),
    ...(output.peak.cpuSeconds ? { cpuSeconds: output.peak.cpuSeconds } : {}),
    ...(output.peak.memory ? { peakMemory: output.peak.memory } : {}),
    ...(brought.outputs.length > 0 ? { outputs: [...brought.outputs] } : {}),
    ...(brought.stdout ? { stdout: brought.stdout } : {}),
    ...(brought.stderr ? { stderr: brought.stderr } : {}),
    site: context.where(),
  };
  const isLeft = brought.isLeft === true && entry.ending?.outcome === 'succeeded';
  const { entries, subJobs } = brought;
  return context.keep({ ...entry, phase: 'merging', report, entries, subJobs, ...(isLeft ? { isLeft } : {}) });
}

/** The directory may be gone: then what is known is reported all the same. */
async function tryToBring(context: Context, entry: JournalEntry): Promise<Brought> {
  try {
    const isShared = context.machine.site.staging === 'shared';
    return await withRoom(context, () => (isShared ? readShared(context, entry) : fetchArchive(context, entry)));
  } catch (error) {
    if (context.signal.aborted) throw error;
    const message = `its files could not be brought back: ${messageOf(error)}. They are left in '${entry.directory}' on '${context.machine.name}': remove it when you have what you need`;
    return { outputs: [], entries: [], subJobs: [], fault: { reason: 'output-failed', message }, isLeft: true };
  }
}

async function fetchArchive(context: Context, entry: JournalEntry): Promise<Brought> {
  const { machine, local, signal } = context;
  const { transport } = machine;
  const directory = entry.directory as string;
  const patterns = entry.spec.outputs ?? [];
  const listing = await withMachine(context, {}, () =>
    listFiles(context, workOf(machine.site, entry), patterns.length > 0),
  );
  const chosen = chooseOutputs(listing, patterns);
  const packed = [FILES.stdout, FILES.stderr, FILES.record, FILES.digests];
  const inWork = chosen.paths.map((one) => `${FILES.work}/${one}`);
  const names = [...packed, ...inWork];
  const format = (await withMachine(context, {}, () => machine.archiver())).formatFor(names);
  const finished = `${FILES.finished}.${format}`;
  await withMachine(context, {}, async () => {
    const { exitCode, stderr } = await transport.run(
      `umask 077
cd ${quote(directory)} || exit 1
touch ${packed.join(' ')}
cat >${FILES.names}.work || exit 1
{ printf '%s\\000' ${packed.join(' ')} && cat ${FILES.names}.work; } >${FILES.names} || exit 1
${chosen.files.length === 0 ? ':' : sumScript(`${FILES.names}.work`)} >${FILES.digests} 2>/dev/null
( ${packScript({ directory, list: FILES.names, archive: finished, names }, format)} )`,
      { stdin: inWork.map((name) => `${name}\0`).join(''), timeoutMs: TIMEOUT_MS, signal },
    );
    if (exitCode !== 0) throw new Error(`'${machine.name}' could not pack them (${stderr.trim()}): is there room?`);
    await transport.get(`${directory}/${finished}`, `${local}/${finished}`, { signal: context.signal });
  });
  const unpacked = path.join(local, 'finished');
  await removeDirectory(unpacked);
  await unpackJobball(`${local}/${finished}`, unpacked, format);
  return keep(context, entry, { unpacked, names: chosen.names, ...(chosen.fault ? { fault: chosen.fault } : {}) });
}

/**
 * As the machine sees them, by whatever counts SHA-256 there; without that nothing is compared. The names come by a file
 * or the standard input, each ended by a zero byte, since a command line has a limit; directories give no line.
 */
function sumScript(names?: string): string {
  const from = names === undefined ? '' : ` <${names}`;
  return `{ if command -v sha256sum >/dev/null 2>&1; then xargs -0 sha256sum --; else xargs -0 shasum -a 256 --; fi${from}; }`;
}

async function keep(
  context: Context,
  entry: JournalEntry,
  { unpacked, names, fault }: { unpacked: string; names: readonly string[]; fault?: Fault },
): Promise<Brought> {
  const { client, signal, show } = context;
  const store: FileStore = { client, project: entry.claim.project, signal };
  const away = (why: string): void => show({ detail: `the server is away: ${why}` });
  const files = names.map((name) => path.join(unpacked, FILES.work, name));
  const sums = parseSums(await readFile(path.join(unpacked, FILES.digests), 'utf8').catch(() => ''));
  const uploaded = await retryWhileAway(() => uploadPaths(store, files), signal, away);
  const outputs = uploaded.map((file, at): OutputFile => ({ name: names[at] as string, ...file }));
  const wrong = outputs.find(
    ({ name, kind, digest }) => kind === 'file' && (sums.get(`${FILES.work}/${name}`) ?? digest) !== digest,
  );
  const changed: Fault | undefined = wrong && {
    reason: 'output-failed',
    message: `the output '${wrong.name}' is not what the machine had: it was written to while it was packed, or damaged on its way`,
  };
  const log = (name: string) => retryWhileAway(() => logOf(store, path.join(unpacked, name)), signal, away);
  const [stdout, stderr] = [await log(FILES.stdout), await log(FILES.stderr)];
  const record = await readFile(path.join(unpacked, FILES.record), 'utf8').catch(() => '');
  const { entries, jobs } = readRecordLines(record, entry.name);
  return {
    outputs,
    subJobs: jobs,
    entries: [...entries, ...outputs.map((file, at) => toEntry(entry, file, at))],
    stdout,
    stderr,
    ...(changed || fault ? { fault: changed ?? fault } : {}),
  } as Brought;
}

async function logOf(store: FileStore, file: string): Promise<Report['stdout']> {
  const found = await stat(file).catch(() => undefined);
  if (!found || found.size === 0) return { size: 0 };
  if (found.size <= INLINE_LOG_BYTES) return { size: found.size, data: (await readFile(file)).toString('base64') };
  const { digest, size } = await uploadPath(store, file);
  return { size, digest };
}

/** Nothing is copied: the outputs stay where they are, and are written down with their digests. */
async function readShared(context: Context, entry: JournalEntry): Promise<Brought> {
  const { machine, signal } = context;
  const directory = entry.directory as string;
  const work = workOf(machine.site, entry);
  const patterns = entry.spec.outputs ?? [];
  return withMachine(context, {}, async () => {
    const chosen = chooseOutputs(await listFiles(context, work, patterns.length > 0), patterns);
    const script = chosen.files.length === 0 ? ':' : `cd ${quote(work)} && ${sumScript()}`;
    const { stdout: sums } = await machine.transport.run(script, {
      stdin: chosen.files.map((name) => `${name}\0`).join(''),
      timeoutMs: TIMEOUT_MS,
      maxOutputBytes: LISTING_BYTES,
      signal,
    });
    const digests = parseSums(sums);
    const files = chosen.files.map((name, at): RecordEntry => {
      const digest = digests.get(name);
      const id = `${entry.name}-output-${at}`;
      return { kind: 'file', id, path: name, role: 'output', ...(digest === undefined ? {} : { digest }) };
    });
    const record = await readWhole(context, `${directory}/${FILES.record}`);
    const { entries, jobs } = readRecordLines(record.toString(), entry.name);
    return {
      outputs: [],
      subJobs: jobs,
      entries: [...entries, ...files],
      stdout: await remoteLog(context, entry, FILES.stdout),
      stderr: await remoteLog(context, entry, FILES.stderr),
      ...(chosen.fault ? { fault: chosen.fault } : {}),
    } as Brought;
  });
}

async function remoteLog(context: Context, entry: JournalEntry, name: string): Promise<Report['stdout']> {
  const { machine, local, client, signal } = context;
  const there = `${entry.directory}/${name}`;
  const head = await machine.transport.read(there, { offset: 0, limit: INLINE_LOG_BYTES + 1 });
  if (!head || head.length === 0) return { size: 0 };
  if (head.length <= INLINE_LOG_BYTES) return { size: head.length, data: Buffer.from(head).toString('base64') };
  await machine.transport.get(there, path.join(local, name), { signal: context.signal });
  return logOf({ client, project: entry.claim.project, signal }, path.join(local, name));
}

async function readWhole({ machine }: Context, file: string): Promise<Buffer> {
  return Buffer.from((await machine.transport.read(file, { offset: 0, limit: 16 * 1024 * 1024 })) ?? '');
}

async function listFiles({ machine, signal }: Context, work: string, isWanted: boolean) {
  if (!isWanted) return parseListing('');
  // Directories, then an empty name, then files and links; each name is ended by a zero byte.
  const { exitCode, stdout, stderr, isCut } = await machine.transport.run(
    `cd ${quote(work)} && find . -type d -print0 && printf '\\000' && find . \\( -type f -o -type l \\) -print0`,
    { timeoutMs: TIMEOUT_MS, maxOutputBytes: LISTING_BYTES, signal },
  );
  if (exitCode !== 0 || isCut) throw new Error(`'${work}' on '${machine.name}' could not be listed (${stderr.trim()})`);
  return parseListing(stdout);
}

function toEntry(entry: JournalEntry, { name, digest, size, kind }: OutputFile, at: number): RecordEntry {
  const id = `${entry.name}-output-${at}`;
  return { kind: 'file', id, path: kind === 'tree' ? `${name}/` : name, role: 'output', digest, size };
}

function withFault(ending: Ending, fault: Fault | undefined): Ending {
  if (!fault || ending.outcome === 'failed') return ending;
  return { ...ending, ...fault, outcome: 'failed' };
}

function wallSecondsOf(entries: readonly RecordEntry[], begun: string): number {
  const step = entries.find((one) => one.kind === 'step' && one.finishedAt !== undefined && one.name === 'command');
  const [from, to] =
    step?.kind === 'step' && step.startedAt && step.finishedAt
      ? [step.startedAt, step.finishedAt]
      : [begun, new Date().toISOString()];
  return Math.max(0, (Date.parse(to) - Date.parse(from)) / 1000);
}
