import { ask, firstWords, innerSeconds, sectionOf } from '../answer.ts';
import type { CheckResult } from '../scheduler.ts';
import type { Shell } from '../shell.ts';
import { queueCommand } from './commands.ts';

const COMMANDS = 'for c in sbatch squeue scancel scontrol; do command -v "$c" >/dev/null 2>&1 || echo "$c"; done';

export async function checkSlurm(shell: Shell, timeoutMs: number): Promise<CheckResult> {
  const seconds = innerSeconds(timeoutMs / 2);
  const sections = {
    missing: COMMANDS,
    version: 'sbatch --version',
    who: 'id -un',
    queue: queueCommand('', seconds),
    accounting: `within ${seconds} sacct -n -X -j 1 -o JobID >/dev/null 2>&1`,
  };
  const answer = await ask(shell, { what: 'Slurm', sections, timeoutMs });
  const text = (name: string): string => sectionOf(answer, name).stdout.trim();
  const missing = text('missing').split('\n').filter(Boolean);
  if (missing.length > 0) {
    return {
      ok: false,
      problem: `${missing.join(', ')} not found on the PATH of a plain login`,
      advice: "Choose a machine that has Slurm's commands, or load them in the login's set-up (such as ~/.profile).",
    };
  }
  if (sectionOf(answer, 'queue').code !== 0) {
    const words = firstWords(answer.stderr);
    return {
      ok: false,
      problem: `Slurm's controller does not answer: ${words}`,
      advice: 'Try again; if it stays, ask those who run it.',
    };
  }
  const accounting = sectionOf(answer, 'accounting').code === 0 ? 'accounting' : 'no accounting';
  return {
    ok: true,
    version: text('version').replace(/^slurm\S*\s+/, ''),
    detail: `controller answers, account ${text('who')}, ${accounting}`,
  };
}
