import { quote } from '../../transport/quote.ts';
import { ask, sectionOf } from '../answer.ts';
import type { BatchId, BatchRef, JobProcesses, ProcessInfo } from '../scheduler.ts';
import type { Shell } from '../shell.ts';
import { parseClaim } from './identity.ts';
import { shellLibrary } from './shell-library.ts';

/** The supervisor comes first, then what it started; children that left the session are found by their environment. */
export async function processesOf(
  shell: Shell,
  jobs: readonly BatchRef[],
  { proc, timeoutMs }: { proc: string; timeoutMs: number },
): Promise<Map<BatchId, JobProcesses>> {
  if (jobs.length === 0) return new Map();
  const answer = await ask(shell, { what: 'the machine', sections: { list: listScript(jobs, proc) }, timeoutMs });
  const listed = readProcesses(sectionOf(answer, 'list').stdout);
  return new Map(
    jobs.flatMap((job, index) => {
      const found = listed.get(index);
      return found ? [[job.id, found] as const] : [];
    }),
  );
}

function listScript(jobs: readonly BatchRef[], proc: string): string {
  const calls = jobs.map((job, index) => {
    const id = parseClaim(job.id) ?? { pid: 0, start: '-', boot: '-', host: '-' };
    const words = [`${job.directory}/.${job.name}`, job.name, id.pid, id.start, id.boot, id.host];
    return `list ${index} ${words.map((word) => quote(String(word))).join(' ')}`;
  });
  return `${shellLibrary(proc)}
command_of() {
  if [ -r "$proc/$1/cmdline" ]; then tr '\\0\\n' '  ' <"$proc/$1/cmdline" 2>/dev/null; else ps -o args= -p "$1" 2>/dev/null; fi
}
list() {
  [ "$6" = "$boot" ] && [ "$7" = "$host" ] || return 0
  { printf '%s\\n' "$t" | awk -v pid="$4" -v start="$5" '$1 == pid && $6 == start'; members "$3" "$2" "$t" "$m" | sort -n; } |
  while read -r pid parent group session state start ticks pages elapsed; do
    printf '%s|%s|%s|%s|%s|%s|%s\\n' "$1" "$pid" "$parent" "$ticks" "$pages" "$elapsed" "$(command_of "$pid" | cut -c1-500)"
  done
}
boot=$(boot_id) host=$(host_name) t=$(table) m=$(marked)
echo "machine|$host|$tick|$page"
${calls.join('\n')}`;
}

export function readProcesses(text: string): Map<number, JobProcesses> {
  const jobs = new Map<number, ProcessInfo[]>();
  let machine = { node: '', tick: 100, page: 4096 };
  for (const line of text.split('\n')) {
    const [index = '', ...fields] = line.split('|');
    if (index === 'machine') machine = { node: fields[0]!, tick: Number(fields[1]), page: Number(fields[2]) };
    else if (fields.length >= 6 && /^\d+$/.test(index)) {
      const list = jobs.get(Number(index)) ?? [];
      jobs.set(Number(index), list);
      list.push(toInfo(fields, machine));
    }
  }
  return new Map([...jobs].map(([index, processes]) => [index, summed(processes, machine.node)]));
}

function toInfo(fields: readonly string[], { tick, page }: { tick: number; page: number }): ProcessInfo {
  const [pid, parent, ticks, pages, elapsed] = fields.slice(0, 5).map(Number);
  return {
    pid: pid!,
    parent: parent!,
    cpuSeconds: ticks! / tick,
    rssBytes: pages! * page,
    elapsedSeconds: Math.max(0, elapsed!),
    command: fields.slice(5).join('|').trim(),
  };
}

function summed(processes: readonly ProcessInfo[], node: string): JobProcesses {
  const sum = (key: 'cpuSeconds' | 'rssBytes'): number => processes.reduce((total, one) => total + (one[key] ?? 0), 0);
  const elapsedSeconds = Math.max(...processes.map((one) => one.elapsedSeconds ?? 0));
  return { node, cpuSeconds: sum('cpuSeconds'), rssBytes: sum('rssBytes'), elapsedSeconds, processes };
}
