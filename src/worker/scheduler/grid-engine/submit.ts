import { quote } from '../../transport/quote.ts';
import { ask, firstWords, innerSeconds, sectionOf, silent } from '../answer.ts';
import type { BatchId, BatchJob, SubmitResult } from '../scheduler.ts';
import type { Shell } from '../shell.ts';
import { submitArguments } from './script.ts';

/** The master did not say whether it took the job. */
const SILENCE = /commlib|unable to (contact|send message|read qmaster)|got select error|timeout|timed out|gdi/i;

export async function submitToGridEngine(
  shell: Shell,
  job: BatchJob,
  path: string,
  timeoutMs: number,
): Promise<SubmitResult> {
  const words = submitArguments(job).map(quote).join(' ');
  const sections = { qsub: `cd / && within ${innerSeconds(timeoutMs)} qsub ${words} ${quote(path)}` };
  const answer = await ask(shell, { what: 'qsub', sections, timeoutMs });
  const { code, stdout } = sectionOf(answer, 'qsub');
  const id = stdout.split('\n').findLast((line) => /^\d+$/.test(line.trim()));
  if (code === 0 && id) return { ok: true, id: id.trim() as BatchId };
  const said = `${stdout}\n${answer.stderr}`;
  // 124: our own limit; from 129 on a signal ended it.
  if (code === 0 || code === 124 || (code > 128 && code <= 192) || SILENCE.test(said)) {
    throw silent('qsub', code === 0 ? 'it printed no id' : `exit code ${code}`, said);
  }
  return { ok: false, reason: refusal(code, firstWords(said)) };
}

function refusal(code: number, words: string): string {
  if (code === 127) {
    return `qsub is not on this machine's PATH (${words}). Choose a machine where Grid Engine's commands are, or set PATH in the site's set-up of the login.`;
  }
  return `Grid Engine refused the job: ${words || `qsub ended with ${code} and no word`}. Change the site's options or what the job asks for, then submit again.`;
}
