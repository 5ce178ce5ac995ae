import { quote } from '../../transport/quote.ts';
import { ask, firstWords, innerSeconds, sectionOf, silent } from '../answer.ts';
import type { BatchId, BatchJob, SubmitResult } from '../scheduler.ts';
import type { Shell } from '../shell.ts';
import { submitArguments } from './script.ts';

/** The controller did not say whether it took the job. */
const SILENCE =
  /unable to contact|socket timed out|connect failure|connection (refused|reset|timed out|closed)|zero bytes|communication|transport endpoint|timed? ?out|temporarily unable/i;

export async function submitToSlurm(
  shell: Shell,
  job: BatchJob,
  path: string,
  timeoutMs: number,
): Promise<SubmitResult> {
  const words = submitArguments(job).map(quote).join(' ');
  const sections = { sbatch: `within ${innerSeconds(timeoutMs)} sbatch ${words} ${quote(path)}` };
  const answer = await ask(shell, { what: 'sbatch', sections, timeoutMs });
  const { code, stdout } = sectionOf(answer, 'sbatch');
  const id = stdout.split('\n').findLast((line) => /^\d+(;[\w.-]+)?$/.test(line.trim()));
  if (code === 0 && id) return { ok: true, id: id.trim() as BatchId };
  // 124: our own limit; from 129 on a signal ended it (255 is a refusal: an option that sbatch does not know).
  if (code === 0 || code === 124 || (code > 128 && code <= 192) || SILENCE.test(answer.stderr)) {
    throw silent('sbatch', code === 0 ? 'it printed no id' : `exit code ${code}`, answer.stderr || stdout);
  }
  return { ok: false, reason: refusal(code, firstWords(answer.stderr || stdout)) };
}

function refusal(code: number, words: string): string {
  if (code === 127) {
    return `sbatch is not on this machine's PATH (${words}). Choose a machine where Slurm's commands are, or set PATH in the site's set-up of the login.`;
  }
  return `Slurm refused the job: ${words || `sbatch ended with ${code} and no word`}. Change the site's options or what the job asks for, then submit again.`;
}
