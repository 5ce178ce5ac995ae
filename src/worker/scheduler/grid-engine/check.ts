import { ask, firstWords, innerSeconds, sectionOf } from '../answer.ts';
import type { CheckResult } from '../scheduler.ts';
import type { Shell } from '../shell.ts';
import { queueCommand } from './commands.ts';

const COMMANDS = 'for c in qsub qstat qdel qacct; do command -v "$c" >/dev/null 2>&1 || echo "$c"; done';

export async function checkGridEngine(shell: Shell, timeoutMs: number): Promise<CheckResult> {
  const seconds = innerSeconds(timeoutMs / 2);
  const sections = {
    missing: COMMANDS,
    version: 'qstat -help 2>&1 | head -n 1',
    who: 'id -un',
    queue: queueCommand(seconds),
    accounting: `within ${seconds} qacct -d 1 -o "$(id -un)" >/dev/null 2>&1`,
  };
  const answer = await ask(shell, { what: 'Grid Engine', sections, timeoutMs });
  const text = (name: string): string => sectionOf(answer, name).stdout.trim();
  const missing = text('missing').split('\n').filter(Boolean);
  if (missing.length > 0) {
    return {
      ok: false,
      problem: `${missing.join(', ')} not found on the PATH of a plain login`,
      advice: "Choose a machine that has Grid Engine's commands, or load its settings.sh in the login's set-up.",
    };
  }
  if (sectionOf(answer, 'queue').code !== 0) {
    return {
      ok: false,
      problem: `Grid Engine's master does not answer: ${firstWords(answer.stderr)}`,
      advice: 'Look at SGE_ROOT and SGE_CELL of a plain login; if they are right, ask those who run it.',
    };
  }
  const accounting = sectionOf(answer, 'accounting').code === 0 ? 'accounting' : 'no accounting';
  return { ok: true, version: text('version'), detail: `master answers, account ${text('who')}, ${accounting}` };
}
