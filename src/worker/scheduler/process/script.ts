import { quote } from '../../transport/quote.ts';
import { enterLines, optionLines } from '../directives.ts';
import type { BatchJob } from '../scheduler.ts';
import { MARK, shellLibrary, WITHIN } from './shell-library.ts';

export interface ProcessScript {
  readonly proc: string;
  readonly graceSeconds: number;
}

/**
 * One file, run twice: first as the supervisor, which claims the job, starts the file again as the job's body in a
 * session of its own, watches its limits, ends what it leaves behind and writes down how it ended.
 */
export function processScript(job: BatchJob, options: ProcessScript): string {
  return `#!/bin/sh
# Options of the site say nothing to plain processes.
${optionLines(job.options, '#').join('\n')}
name=${quote(job.name)}
state=${quote(`${job.directory}/.${job.name}`)}
${shellLibrary(options.proc)}
${detached}
if [ "\${PILOTAGE_BATCH_STEP:-}" != "$name" ]; then
${supervisor(job, options)}
fi
unset PILOTAGE_BATCH_STEP PILOTAGE_BATCH_SHELL PILOTAGE_BATCH_APPLET
printf '%s %s\\n' "$$" "$(start_of $$)" >"$state/body.$$" && mv "$state/body.$$" "$state/body" || exit 125
[ -e "$state/cancelled" ] && exit 143
${enterLines(job).join('\n')}

${job.body}
`;
}

/**
 * \`detached COMMAND…\`: in a session of its own, by whatever the machine has. In the background of a shell without job
 * control none of these forks: the process stays the shell's child.
 */
export const detached = `
detached() {
  if command -v setsid >/dev/null 2>&1; then exec setsid "$@"
  elif command -v perl >/dev/null 2>&1; then exec perl -e 'use POSIX; POSIX::setsid(); exec { $ARGV[0] } @ARGV' "$@"
  elif command -v python3 >/dev/null 2>&1; then exec python3 -c 'import os,sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])' "$@"
  else exec nohup "$@"
  fi
}`.trim();

function supervisor(job: BatchJob, { graceSeconds }: ProcessScript): string {
  const end = `end_tree "$name" "$state" ${graceSeconds}`;
  return `printf '%s\\n' "$$:$(start_of $$):$(boot_id):$(host_name)" >"$state/claim.$$" || exit 125
ln "$state/claim.$$" "$state/claim" 2>"$state/refused.$$"; claimed=$?
rm -f "$state/claim.$$"
# Whoever came second leaves the first alone.
if [ $claimed -ne 0 ]; then [ -e "$state/claim" ] && rm -f "$state/refused.$$"; exit 125; fi
rm -f "$state/refused.$$"
trap '' HUP
stop() { stopped=1; [ -e "$state/limit" ] || printf '' >"$state/cancelled"; ${end}; }
trap stop TERM INT
( export PILOTAGE_BATCH_STEP="$name" ${MARK}="$name" ${WITHIN}="\${SLURM_JOB_ID:-}"; detached "$PILOTAGE_BATCH_SHELL" $PILOTAGE_BATCH_APPLET "$0" ) &
body=$!
${watcher(job, end)}
wait $body; code=$?
# A trap interrupts wait; the shell still knows the real code.
if [ -n "\${stopped:-}" ]; then wait $body; again=$?; [ $again -eq 127 ] || code=$again; fi
[ -z "\${watcher:-}" ] || kill $watcher 2>/dev/null
${end}
cause=program
[ -e "$state/cancelled" ] && cause=cancelled
[ -s "$state/limit" ] && read -r cause <"$state/limit"
printf '%s %s\\n' $code $cause >"$state/exit.$$" && mv "$state/exit.$$" "$state/exit"
exit 0`;
}

/** Time by one sleep; memory by a look at the job's processes every other second. */
function watcher(job: BatchJob, end: string): string {
  if (!job.wallTimeSeconds && !job.memoryBytes) return '';
  const time = job.wallTimeSeconds ? Math.ceil(job.wallTimeSeconds) : 0;
  const memory = job.memoryBytes ?? 0;
  return `(
  trap 'kill $nap 2>/dev/null; exit' TERM
  over() { echo "$1" >"$state/limit.w" && mv "$state/limit.w" "$state/limit"; ${end}; exit; }
  began=$(now)
  while :; do
    sleep ${memory > 0 ? Math.min(2, time || 2) : time} & nap=$!; wait $nap
    ${time > 0 ? `[ $(($(now) - began)) -ge ${time} ] && over time-limit` : ':'}
    ${memory > 0 ? `members "$name" "$state" | awk -v page="$page" '{ sum += $8 * page } END { exit !(sum > ${memory}) }' && over memory-limit` : ':'}
  done
) & watcher=$!`;
}
