import { quote } from '../../transport/quote.ts';
import { ask, firstWords, sectionOf, silent } from '../answer.ts';
import type { BatchJob, SubmitResult } from '../scheduler.ts';
import type { Shell } from '../shell.ts';
import { toBatchId } from './identity.ts';
import { detached } from './script.ts';

/** A second submit of the same name in the same directory answers with the first's id: the claim decides, not who asks. */
export async function submitProcess(
  shell: Shell,
  job: BatchJob,
  path: string,
  options: { timeoutMs: number; interpreter: readonly string[] },
): Promise<SubmitResult> {
  const sections = { start: startScript(job, path, options.interpreter) };
  const answer = await ask(shell, { what: 'the machine', sections, timeoutMs: options.timeoutMs });
  const { code, stdout } = sectionOf(answer, 'start');
  const id = toBatchId(stdout.trim().split('\n').at(-1) ?? '');
  if (code === 0 && id) return { ok: true, id };
  if (code === REFUSED) return { ok: false, reason: firstWords(stdout) };
  throw silent('starting the process', `exit code ${code}`, `${stdout}\n${answer.stderr}`);
}

const REFUSED = 3;

/** The started one writes its claim, or ends without having run anything of the job. */
function startScript(job: BatchJob, path: string, [program = '/bin/sh', applet = '']: readonly string[]): string {
  const state = quote(`${job.directory}/.${job.name}`);
  return `state=${state}
refuse() { echo "$1"; exit ${REFUSED}; }
cd ${quote(job.directory)} 2>/dev/null || refuse "the job's directory is not there or may not be entered: make it, then start again"
mkdir -p "$state" 2>/dev/null && [ -w "$state" ] || refuse "nothing can be written in the job's directory: look at its room and rights"
[ -s "$state/claim" ] && { cat "$state/claim"; exit 0; }
[ -r ${quote(path)} ] || refuse "the job's script is not there or not readable: bring it, then start again"
${detached}
export PILOTAGE_BATCH_SHELL=${quote(program)} PILOTAGE_BATCH_APPLET=${quote(applet)}
( trap '' HUP; detached ${[program, applet].filter(Boolean).map(quote).join(' ')} ${quote(path)} ) </dev/null >/dev/null 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
started=$!
round=0
until [ -s "$state/claim" ]; do
  if ! kill -0 $started 2>/dev/null && [ ! -s "$state/claim" ]; then
    refuse "the process ended before it could write down that it runs; nothing of the job was run. $(cat "$state"/refused.* 2>/dev/null) Look at the room and rights of the job's directory."
  fi
  round=$((round + 1))
  [ $round -gt 100 ] && exit 4
  sleep 0.1 2>/dev/null || sleep 1
done
cat "$state/claim"`;
}
