import { formatSize } from '../../ground/base/size.ts';
import type { CheckItem } from '../../ground/protocol/site-check.ts';
import { type Finding, failed, orFailed, passed, skipped, warned, within } from './check-finding.ts';
import type { Machine } from './machine.ts';
import { withUser } from './steps/stage.ts';

const LITTLE_ROOM = 1024 ** 3;
const NO_ROOM = 1024 ** 2;
const CLOCK_SECONDS = 5;
/** A batch system asks its controller: that may take longer than a login. */
const SCHEDULER_TIMES = 3;

/** What a job needs once it is on the machine. One command each, side by side, each with a time limit. */
export function placeChecks(machine: Machine): Promise<Finding>[] {
  return [
    orFailed('program-directory', () => checkPrograms(machine)),
    orFailed('temporary-directory', () => checkTemporary(machine)),
    orFailed('archive', () => checkArchive(machine)),
    orFailed('scheduler', () => checkScheduler(machine)),
    orFailed('clock', () => checkClock(machine)),
  ];
}

async function checkPrograms({ site, transport }: Machine): Promise<Finding> {
  const directory = site.programDirectory;
  if (directory === undefined) return { items: skipped(['program-directory'], 'the site names none') };
  const { exitCode, stdout } = await transport.run(`${USER}\ncd ${withUser(directory)} 2>/dev/null && pwd -P`, {
    timeoutMs: site.timeoutSeconds * 1000,
  });
  if (exitCode === 0) return { items: [passed('program-directory', stdout.trim())] };
  return {
    items: [
      failed(
        'program-directory',
        `there is no directory '${directory}', or you may not enter it`,
        "correct 'programDirectory' of the site",
      ),
    ],
  };
}

/** Made if it is missing, as a job would; written to, because a full disk still takes names. */
async function checkTemporary({ site, transport }: Machine): Promise<Finding> {
  if (site.staging === 'shared')
    return { items: skipped(['temporary-directory'], "files are shared: jobs are in their project's directory") };
  const { exitCode, stdout, stderr } = await transport.run(temporaryScript(site.temporaryDirectory), {
    timeoutMs: site.timeoutSeconds * 1000,
  });
  const [room = '', made = '', ...rest] = stdout.split('\n');
  const place = rest.join('\n').trim();
  const freeBytes = /^\d+$/.test(room) ? Number(room) * 1024 : undefined;
  const facts = freeBytes === undefined ? {} : { facts: { freeBytes } };
  if (exitCode !== 0) {
    const words = stderr.trim().split('\n').at(-1) ?? '';
    return {
      items: [
        failed('temporary-directory', `nothing can be written below '${site.temporaryDirectory}' (${words})`, ROOM),
      ],
      ...facts,
    };
  }
  return { items: [roomItem(`${place}${made === 'made' ? ' (made)' : ''}`, freeBytes)], ...facts };
}

const ROOM = "make room there or get leave to write, or name another directory as 'temporaryDirectory' of the site";

function roomItem(place: string, freeBytes: number | undefined): CheckItem {
  if (freeBytes === undefined) return passed('temporary-directory', `${place}, writable`);
  const detail = `${place}, writable, ${formatSize(freeBytes)} free`;
  if (freeBytes < NO_ROOM) return failed('temporary-directory', detail, ROOM);
  return freeBytes < LITTLE_ROOM
    ? warned('temporary-directory', detail, 'that is little: make room there before large jobs')
    : passed('temporary-directory', detail);
}

const USER = 'USER=$(id -un); export USER';

function temporaryScript(directory: string): string {
  return `umask 077
${USER}
made=there
[ -d ${withUser(directory)} ] || made=made
mkdir -p ${withUser(directory)} && cd ${withUser(directory)} || exit 1
room=$(df -Pk . 2>/dev/null | awk 'NR == 2 { print $4 }')
printf '%s\\n' "$room" "$made"
pwd -P
own=.pilotage-check-$$
mkdir "$own" || exit 1
i=0; while [ $i -lt 64 ]; do echo '${'x'.repeat(63)}'; i=$((i + 1)); done >"$own/written"
wrote=$?
rm -rf "$own"
exit $wrote`;
}

async function checkArchive({ site, archiver }: Machine): Promise<Finding> {
  if (site.staging === 'shared') return { items: skipped(['archive'], 'files are shared: nothing is packed') };
  const { formatFor } = await within(site.timeoutSeconds * 1000, 'the machine', archiver());
  return { items: [passed('archive', `packs and unpacks ${formatFor([])}`)] };
}

async function checkScheduler({ site, transport, scheduler }: Machine): Promise<Finding> {
  const limit = site.timeoutSeconds * 1000 * SCHEDULER_TIMES;
  const found = await within(limit, scheduler.name, scheduler.check(transport));
  if (!found.ok) return { items: [failed('scheduler', `${scheduler.name}: ${found.problem}`, found.advice)] };
  return { items: [passed('scheduler', `${scheduler.name} ${found.version}: ${found.detail}`)] };
}

/** To the second, which is what a POSIX `date` tells; half of the way there and back is taken off. */
async function checkClock({ site, transport }: Machine): Promise<Finding> {
  const before = Date.now();
  const { stdout } = await transport.run('date +%s', { timeoutMs: site.timeoutSeconds * 1000 });
  const middle = (before + Date.now()) / 2000;
  const there = Number.parseInt(stdout, 10);
  if (!Number.isSafeInteger(there)) return { items: [failed('clock', `its 'date +%s' says '${stdout.trim()}'`)] };
  const clockSeconds = Math.round(there + 0.5 - middle) + 0;
  const facts = { facts: { clockSeconds } };
  if (Math.abs(clockSeconds) <= CLOCK_SECONDS) return { items: [passed('clock', 'the same as here')], ...facts };
  const detail = `${Math.abs(clockSeconds)} s ${clockSeconds > 0 ? 'ahead of' : 'behind'} this machine's`;
  return {
    items: [warned('clock', detail, 'set one of them right: times in results would not be comparable')],
    ...facts,
  };
}
