/** One question to a machine, and whether there was an answer. */
import { PilotageError } from '../../ground/base/errors.ts';
import type { Shell } from './shell.ts';

export interface Question {
  /** For the message: `squeue`. */
  readonly what: string;
  /** Each is run in a subshell of its own; what it prints and its exit code come back under its name. */
  readonly sections: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
}

export interface Section {
  readonly code: number;
  readonly stdout: string;
}

export interface Answer {
  readonly sections: ReadonlyMap<string, Section>;
  readonly stderr: string;
}

const BEGIN = '@pilotage-begin';
const END = '@pilotage-end';
const MAX_ARGUMENT_BYTES = 30_000;

/**
 * Where there is `timeout`, a client that waits for its controller is ended there too: killing our end of an ssh leaves
 * it behind. `within SECONDS COMMAND…`
 */
const WITHIN = `if command -v timeout >/dev/null 2>&1; then within() { timeout "$@"; }; else within() { shift; "$@"; }; fi`;

/** Rejects with `scheduler-silent` unless the whole answer came. */
export async function ask(shell: Shell, question: Question): Promise<Answer> {
  const script = [
    WITHIN,
    ...Object.entries(question.sections).map(
      ([name, text]) => `echo '${BEGIN} ${name}'\n(\n${text}\n)\nprintf '\\n${END} ${name} %s\\n' $?`,
    ),
    'exit 0',
  ].join('\n');
  // A long one goes by standard input: an argument of a program has a limit of 128 KiB, `eval` has none.
  const isLong = Buffer.byteLength(script) > MAX_ARGUMENT_BYTES;
  const { timeoutMs } = question;
  const result = isLong
    ? await shell.run('eval "$(cat)"', { stdin: script, timeoutMs })
    : await shell.run(script, { timeoutMs });
  const sections = new Map<string, Section>();
  for (const name of Object.keys(question.sections)) {
    const section = readSection(result.stdout, name);
    if (!section || result.isCut) throw silent(question.what, 'the answer broke off', result.stderr);
    sections.set(name, section);
  }
  return { sections, stderr: result.stderr };
}

export function sectionOf(answer: Answer, name: string): Section {
  return answer.sections.get(name) ?? { code: 1, stdout: '' };
}

export function silent(what: string, problem: string, words: string): PilotageError {
  const said = firstWords(words);
  return new PilotageError(
    'scheduler-silent',
    `${what} gave no answer (${problem})${said && `: ${said}`}. Nothing is known about the jobs; ask again later.`,
  );
}

/** The last lines of what a program said, short enough for a message. */
export function firstWords(text: string): string {
  const lines = text.split('\n').map((line) => line.trim());
  return lines.filter(Boolean).slice(-5).join(' / ').slice(0, 600);
}

/** Seconds for `within`, a little less than the whole. */
export function innerSeconds(timeoutMs: number): number {
  return Math.max(1, Math.floor((timeoutMs * 0.9) / 1000));
}

function readSection(stdout: string, name: string): Section | undefined {
  const begin = `${BEGIN} ${name}\n`;
  const from = stdout.indexOf(begin);
  const end = `\n${END} ${name} `;
  const to = stdout.lastIndexOf(end);
  if (from < 0 || to < from) return undefined;
  const code = Number.parseInt(stdout.slice(to + end.length), 10);
  return Number.isNaN(code)
    ? undefined
    : { code, stdout: stdout.slice(from + begin.length, Math.max(to, from + begin.length)) };
}
