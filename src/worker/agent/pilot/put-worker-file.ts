import { PilotageError } from '../../../ground/base/errors.ts';
import { quote } from '../../transport/quote.ts';
import type { Machine } from '../machine.ts';
import { withUser } from '../steps/stage.ts';
import type { WorkerFile } from './means.ts';

const NAME = 'pilotage-worker';
const TIMEOUT_MS = 600_000;
/** Exit codes of our own script. */
const NO_ROOM = 71;
const NOT_OURS = 74;
const MISSING = 75;

const underWay = new WeakMap<Machine, Map<string, Promise<string>>>();

/**
 * Brings the worker file there, once for each version, and verifies what lies there; pilots that come meanwhile wait for
 * the same. Resolves with its name there. It has a directory of its own that nobody else can write to: the place for
 * temporary files may be everybody's.
 */
export function putWorkerFile(machine: Machine, file: WorkerFile): Promise<string> {
  const ofMachine = underWay.get(machine) ?? new Map<string, Promise<string>>();
  underWay.set(machine, ofMachine);
  const going = ofMachine.get(file.digest);
  if (going) return going;
  const put = bring(machine, file).finally(() => ofMachine.delete(file.digest));
  ofMachine.set(file.digest, put);
  return put;
}

async function bring(machine: Machine, file: WorkerFile): Promise<string> {
  const { transport, site } = machine;
  const found = await look(machine, file);
  if (found.isWhole) return found.path;
  await transport.put(file.path, found.path, { mode: 0o700 });
  const there = await look(machine, file);
  if (there.isWhole) return there.path;
  throw new PilotageError(
    'transfer-failed',
    `the worker file that was brought to '${there.path}' on '${machine.name}' is not the one that was sent: is the disk behind '${site.temporaryDirectory}' sound?`,
  );
}

async function look({ transport, site, name }: Machine, { version, digest }: WorkerFile) {
  const wanted = `${NAME}-${version}-${digest.slice(0, 12)}`;
  const { exitCode, stdout, stderr } = await transport.run(
    `umask 077
USER=$(id -un); export USER
base=${withUser(site.temporaryDirectory)}
mkdir -p "$base" || exit ${NO_ROOM}
cd "$base" || exit ${NO_ROOM}
own=${quote(wanted)}-$(id -u)
mkdir "$own" 2>/dev/null
[ -d "$own" ] && [ ! -L "$own" ] && [ -O "$own" ] || exit ${NOT_OURS}
chmod 700 "$own" && cd "$own" || exit ${NO_ROOM}
printf '%s/${NAME}\\n' "$(pwd -P)"
[ -f ${NAME} ] || exit ${MISSING}
sum=$( { sha256sum <${NAME} || shasum -a 256 <${NAME} || openssl dgst -sha256 -r <${NAME}; } 2>/dev/null | cut -c1-64)
[ "$sum" = ${digest} ] || exit ${MISSING}
# What agents left that were killed while they sent it: nobody has written to it for minutes.
find . -maxdepth 1 -type f -name '.pilotage-*.part' -mmin +1 -exec rm -f {} + 2>/dev/null
# What pilots left that were killed while it unpacked itself, which takes seconds, on a slow disk minutes.
find . -maxdepth 1 -type d -name '${NAME}.*.part' -mmin +60 -exec rm -rf {} + 2>/dev/null
exit 0`,
    { timeoutMs: TIMEOUT_MS },
  );
  if (exitCode === 0 || exitCode === MISSING) return { path: stdout.trim(), isWhole: exitCode === 0 };
  const where = `'${site.temporaryDirectory}' on '${name}'`;
  if (exitCode === NOT_OURS)
    throw new PilotageError(
      'wrong-state',
      `there is a '${wanted}-…' in ${where} that is not yours, where the worker file belongs: give the site a temporaryDirectory of your own, as /scratch/$USER`,
    );
  throw new PilotageError(
    'wrong-state',
    `the worker file could not be put into ${where} (${stderr.trim()}): is it there, may you write to it, and is there room?`,
  );
}
