/**
 * A guard beside each job: a small process that sees its script die and ends what the program left.
 *
 * Where there are no control groups a batch system kills a tree from one look at it, process by process, leaves first
 * (Slurm's proctrack/linuxproc: a list from /proc, then _kill_proclist). A shell whose child was killed starts its next
 * one before its own turn comes; that one has lost all its ancestors a moment later, and is never found again (seen
 * with Slurm 22.05.8 in 8 of 42 cancels of a deaf program, on a loaded machine). The process group that proctrack/pgid
 * and Grid Engine kill is not all either: setsid leaves it.
 *
 * It is told by a pipe: the kernel closes the script's end, however it dies. A script that ends by itself says so before,
 * and the guard goes at once: nothing waits for it. It is nobody's child and in a session of its own, so that it is
 * in no tree that is killed; a control group has it, and needs no guard.
 */
import { detached } from '../scheduler/process/script.ts';
import { MARK } from '../scheduler/process/shell-library.ts';
import { quote } from '../transport/quote.ts';

/** The script's end of the pipe. Whatever it starts closes it: a guard that somebody else holds sees no end. */
export const GUARD_FD = 3;
const PIPE = 'guard';
/** What is left even then waits for a disk. */
const ROUNDS = 300;

/** Starts it, in the job's directory. Where pipes have no names, or nothing tells what a process is, there is none. */
export function startGuard(name: string): string {
  return `${detached}
if [ -r /proc/self/environ ] && mkfifo ${PIPE} 2>/dev/null && ( : ${GUARD_FD}<>${PIPE} ) 2>/dev/null; then
  exec ${GUARD_FD}<>${PIPE}
  # Nobody's child, without the mark, and deaf to what is said to the job.
  ( ( trap '' HUP INT TERM; unset ${MARK}; detached /bin/sh -c ${quote(GUARD)} guard ${quote(name)} ) </dev/null >/dev/null 2>&1 & )
fi`;
}

/** The script ends by itself. */
export const DISMISS_GUARD = `{ echo over >&${GUARD_FD}; } 2>/dev/null`;

/**
 * A batch job that the program submitted has its environment, and the batch system's number of its own: it is another
 * job. What is killed cannot start anything more, and what it started just before has the mark as well: round by round,
 * until a look finds none.
 */
const GUARD = `exec 4<${PIPE} ${GUARD_FD}>&-
rm -f ${PIPE}
cd /
read -r word <&4 && exit 0
is_ours() {
  found=
  for line in $({ tr '\\0' '\\n' <"$2" | grep -E '^(${MARK}|SLURM_JOB_ID|JOB_ID)='; } 2>/dev/null); do
    case $line in
      "${MARK}=$1") found=yes ;;
      "SLURM_JOB_ID=\${SLURM_JOB_ID:-}" | "JOB_ID=\${JOB_ID:-}" | SLURM_JOB_ID=) ;;
      SLURM_JOB_ID=*) return 1 ;;
      JOB_ID=*) [ -z "\${JOB_ID:-}" ] || return 1 ;;
    esac
  done
  [ -n "$found" ]
}
round=0
while [ $round -lt ${ROUNDS} ]; do
  left=
  for file in $(grep -lF "${MARK}=$1" /proc/[0-9]*/environ 2>/dev/null); do
    is_ours "$1" "$file" || continue
    pid=\${file%/environ}
    kill -s KILL "\${pid#/proc/}" 2>/dev/null && left=yes
  done
  [ -n "$left" ] || exit 0
  round=$((round + 1))
  [ $round -lt 10 ] || sleep 1
done`;
