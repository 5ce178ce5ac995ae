import type { AtSite, BatchScript } from './runners.ts';

export const SCRIPT_NAME = 'pilotage-script.sh';

/** What a job at a site asks for in our words, and `others`: options in its batch system's, a line each. */
interface Asked {
  cpus?: number;
  memory?: number;
  gpus?: number;
  timeLimit?: number;
  array?: string;
  readonly others: string[];
}

/**
 * A batch script as a command at its site. Of its options, and of the directives in it, what we have a word for becomes
 * what a job at a site asks for, so that it is limited and shown like any other; the rest goes to the batch system as it
 * is. What we say ourselves (name, directory, output files) is left out.
 */
export function toSiteCommand(script: BatchScript): { command: AtSite; file: { name: string; content: string } } {
  const { scheduler } = script;
  const words = [...directivesIn(script), ...wordsOf(script.options)];
  const { others, ...asked } = scheduler === 'slurm' ? fromSlurm(words) : fromGridEngine(words);
  const array = script.array ?? asked.array;
  const interpreter = /^#!\s*(\S.*)/.exec(script.text)?.[1]?.trim().split(/\s+/) ?? ['/bin/sh'];
  return {
    command: {
      ...asked,
      name: script.site,
      batch: { scheduler, options: others },
      command: [...interpreter, SCRIPT_NAME],
      ...(array === undefined ? {} : { array }),
      ...(script.inputs === undefined ? {} : { inputs: script.inputs }),
      ...(script.outputs === undefined ? {} : { outputs: script.outputs }),
      ...(script.env === undefined ? {} : { env: script.env }),
      ...(script.files === undefined ? {} : { files: script.files }),
    },
    file: { name: SCRIPT_NAME, content: script.text },
  };
}

function directivesIn({ text, scheduler }: BatchScript): string[] {
  const begin = scheduler === 'slurm' ? '#SBATCH' : '#$';
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${begin} `))
    .flatMap((line) => wordsOf(line.slice(begin.length)));
}

/** As a shell takes a line apart, without anything that it would put in. */
function wordsOf(options: string | readonly string[] = []): string[] {
  if (typeof options !== 'string') return [...options];
  const found = options.match(/(?:[^\s'"]|'[^']*'|"[^"]*")+/g) ?? [];
  return found.map((word) => word.replaceAll(/'([^']*)'|"([^"]*)"/g, '$1$2'));
}

/** An option with what follows it up to the next one, for the batch system to read. */
function asLine(option: string, rest: readonly string[]): string {
  return [option, ...rest].map(quoted).join(' ');
}

/** So that it is one word to the batch system whatever is in it: a job's name may be. */
function quoted(word: string): string {
  if (!/[\s'"#]/.test(word)) return word;
  const quote = ['"', "'"].find((one) => !word.includes(one));
  if (quote !== undefined && !word.includes('\\')) return `${quote}${word}${quote}`;
  throw new Error(`the option ${word} of the script cannot be put in quotes: it has both kinds of them, or a '\\'`);
}

/** The words at `from` that belong to the option before: all up to the next option. */
function valuesAt(words: readonly string[], from: number): string[] {
  const end = words.findIndex((word, at) => at >= from && word.startsWith('-'));
  return words.slice(from, end === -1 ? words.length : end);
}

const SLURM: Readonly<Record<string, string>> = {
  t: 'time',
  c: 'cpus-per-task',
  a: 'array',
  J: 'job-name',
  G: 'gpus',
  o: 'output',
  e: 'error',
  D: 'chdir',
};
/** Given by us, whatever the script says. */
const OURS_IN_SLURM = ['job-name', 'output', 'error', 'chdir'];

/** Names as in sbatch(1). */
function fromSlurm(words: readonly string[]): Asked {
  const asked: Asked = { others: [] };
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? '';
    const [, long, given] = /^--([a-z-]+)(?:=(.*))?$/.exec(word) ?? [];
    const short = /^-([A-Za-z])(.*)$/.exec(word);
    const name = long ?? SLURM[short?.[1] ?? ''] ?? word;
    const more = valuesAt(words, at + 1);
    const joined = given ?? (long === undefined && short?.[2] ? short[2] : undefined);
    const value = joined ?? more[0] ?? '';
    at += more.length;
    if (name === 'time') asked.timeLimit = slurmTime(value);
    else if (name === 'cpus-per-task') asked.cpus = wholeOf(word, value);
    else if (name === 'gpus' && /^\d+$/.test(value)) asked.gpus = Number(value);
    else if (name === 'mem') asked.memory = sizeOf(value);
    else if (name === 'array') asked.array = value.replace(/%\d+$/, '');
    else if (!word.startsWith('-')) throw noOption(word, '--partition=long');
    else if (!OURS_IN_SLURM.includes(name)) asked.others.push(asLine(word, more));
  }
  return asked;
}

/** Given by us, whatever the script says: where it runs, its name and shell, where its output goes. */
const OURS_IN_GRID_ENGINE = ['-cwd', '-wd', '-N', '-S', '-o', '-e', '-j', '-V', '-terse'];

/** Names as in qsub(1) and complex(5). */
function fromGridEngine(words: readonly string[]): Asked {
  const asked: Asked = { others: [] };
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? '';
    const more = valuesAt(words, at + 1);
    at += more.length;
    if (!word.startsWith('-')) throw noOption(word, '-q long.q');
    if (word === '-t') asked.array = more[0] ?? '';
    else if (word === '-pe' && /^\d+$/.test(more[1] ?? '')) {
      asked.cpus = Number(more[1]);
      // A site may have several: the script's own is the one.
      if (asked.cpus > 1) asked.others.push(asLine(word, more));
    } else if (word === '-l') {
      const others = (more[0] ?? '').split(',').filter((part) => !takeResource(asked, part));
      if (others.length > 0) asked.others.push(`-l ${others.join(',')}`);
    } else if (!OURS_IN_GRID_ENGINE.includes(word)) asked.others.push(asLine(word, more));
  }
  return asked;
}

/** False: its name is the site's own. */
function takeResource(asked: Asked, text: string): boolean {
  const [name, value = ''] = text.split('=');
  if (name === 'h_rt' || name === 's_rt') asked.timeLimit = /^\d+$/.test(value) ? Number(value) : slurmTime(value);
  else if (name === 'h_vmem' || name === 'mem_free' || name === 's_vmem') asked.memory = sizeOf(value);
  else if (name === 'gpu') asked.gpus = wholeOf(text, value);
  else return false;
  return true;
}

/** `minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours[:minutes[:seconds]]`, in seconds. */
function slurmTime(text: string): number {
  const match = /^(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?$/.exec(text);
  if (!match) throw new Error(`'${text}' is no time of a batch system: write 1:30:00, 90 (minutes) or 2-0`);
  const [days, a, b, c] = match.slice(1).map((part) => (part === undefined ? undefined : Number(part)));
  if (days !== undefined) return days * 86_400 + (a ?? 0) * 3600 + (b ?? 0) * 60 + (c ?? 0);
  if (c !== undefined) return (a ?? 0) * 3600 + (b ?? 0) * 60 + c;
  return (a ?? 0) * 60 + (b ?? 0);
}

/** `2G`, `500M`: of 1024; without a letter MiB, as Slurm has it. */
function sizeOf(text: string): number {
  const [, amount, unit = 'M'] = /^(\d+(?:\.\d+)?)([KMGT])?B?$/i.exec(text) ?? [];
  if (amount === undefined) throw new Error(`'${text}' is no size of a batch system: write 2G or 500M`);
  return Math.round(Number(amount) * 1024 ** ('KMGT'.indexOf(unit.toUpperCase()) + 1));
}

function wholeOf(option: string, text: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  throw new Error(`the option '${option}' of the script needs a whole number, not '${text}'`);
}

function noOption(word: string, example: string): Error {
  return new Error(`'${word}' is no option of a batch system: options of the script look like '${example}'`);
}
