import type { AtSite, BatchScript } from './runners.ts';

export const SCRIPT_NAME = 'pilotage-script.sh';

type Asked = Partial<Pick<AtSite, 'cpus' | 'memory' | 'gpus' | 'timeLimit' | 'array'>>;

/**
 * A batch script as a command at its site. Its options, and the directives in it, become what a job at a site asks for:
 * the agent that sends it writes them for the site's scheduler. Throws for an option that has no such meaning.
 */
export function toSiteCommand(script: BatchScript): { command: AtSite; file: { name: string; content: string } } {
  const words = [...directivesIn(script), ...wordsOf(script.options)];
  const asked = script.scheduler === 'slurm' ? fromSlurm(words) : fromGridEngine(words);
  const array = script.array ?? asked.array;
  const interpreter = /^#!\s*(\S.*)/.exec(script.text)?.[1]?.trim().split(/\s+/) ?? ['/bin/sh'];
  return {
    command: {
      ...asked,
      name: script.site,
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

function wordsOf(options: string | readonly string[] = []): string[] {
  return typeof options === 'string' ? options.split(/\s+/).filter((word) => word !== '') : [...options];
}

const SLURM: Readonly<Record<string, string>> = {
  t: 'time',
  c: 'cpus-per-task',
  a: 'array',
  J: 'job-name',
  G: 'gpus',
};

/** Names as in sbatch(1). */
function fromSlurm(words: readonly string[]): Asked {
  const asked: Record<string, string | number> = {};
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? '';
    const [, long, given] = /^--([a-z-]+)(?:=(.*))?$/.exec(word) ?? [];
    const short = /^-([A-Za-z])(.*)$/.exec(word);
    const name = long ?? SLURM[short?.[1] ?? ''] ?? word;
    const value = given ?? (long === undefined && short?.[2] ? short[2] : (words[++at] ?? ''));
    if (name === 'time') asked.timeLimit = slurmTime(value);
    else if (name === 'cpus-per-task') asked.cpus = wholeOf(word, value);
    else if (name === 'gpus') asked.gpus = wholeOf(word, value);
    else if (name === 'mem') asked.memory = sizeOf(value);
    else if (name === 'array') asked.array = value.replace(/%\d+$/, '');
    else if (name !== 'job-name') throw unknown(word, '--time, --mem, --cpus-per-task, --gpus, --array, --job-name');
  }
  return asked;
}

/** Names as in qsub(1) and complex(5). */
function fromGridEngine(words: readonly string[]): Asked {
  const asked: Record<string, string | number> = {};
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? '';
    if (word === '-cwd' || word === '-V') continue;
    const value = words[++at] ?? '';
    if (word === '-t') asked.array = value;
    else if (word === '-pe') asked.cpus = wholeOf(word, words[++at] ?? '');
    else if (word === '-l') Object.assign(asked, ...value.split(',').map(resourceOf));
    else if (word !== '-N' && word !== '-S') throw unknown(word, '-l h_rt=, -l h_vmem=, -pe NAME N, -t, -N, -S, -cwd');
  }
  return asked;
}

function resourceOf(text: string): Asked {
  const [name, value = ''] = text.split('=');
  if (name === 'h_rt' || name === 's_rt') return { timeLimit: /^\d+$/.test(value) ? Number(value) : slurmTime(value) };
  if (name === 'h_vmem' || name === 'mem_free' || name === 's_vmem') return { memory: sizeOf(value) };
  if (name === 'gpu') return { gpus: wholeOf(text, value) };
  throw unknown(`-l ${text}`, '-l h_rt=, -l h_vmem=, -l gpu=');
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

function unknown(option: string, known: string): Error {
  return new Error(
    `the option '${option}' of the script has no meaning here: there are ${known}. What else its batch system needs belongs into the site ('pilotage site edit')`,
  );
}
