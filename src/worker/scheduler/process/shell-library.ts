/**
 * What the scripts for plain processes have in common, in POSIX sh (dash, busybox and bash are tested). They read `/proc`
 * where there is one, else what ps(1) tells; `proc` names it.
 *
 * A process for good is `pid:start:boot:host`: numbers are given again, but not with the same start in the same boot.
 * A job's files lie in `.NAME` in its directory:
 *   claim      the supervisor: made by link(2), so the first wins and it is whole when it is there
 *   body       `pid start` of the shell that runs the job's script, which leads a session where that can be had
 *   cancelled, limit   written before the processes are ended for that
 *   exit       the end: `CODE CAUSE`, by rename, when no process of the job is left
 */
export const MARK = 'PILOTAGE_BATCH_NAME';
/** Slurm's number where a job began, if any. A Slurm job that the program submits has its environment with another. */
export const WITHIN = 'PILOTAGE_BATCH_WITHIN';

/** `start_of PID`: when it started; fails for what is gone and for zombies. Fields as in proc(5), counted after the name. */
const START_OF = `
start_of() {
  if [ -r "$proc/self/stat" ]; then
    { read -r line <"$proc/$1/stat"; } 2>/dev/null || return 1
    set -- \${line##*)}
    case $1 in Z|X|'') return 1 ;; esac
    shift 19
    echo "$1"
  else
    line=$(ps -o stat= -o lstart= -p "$1" 2>/dev/null) || return 1
    set -- $line
    case $1 in Z*|'') return 1 ;; esac
    echo "$2_$3_$4_$5_$6" | tr : .
  fi
}`;

const WHERE = `
boot_id() {
  { read -r boot <"$proc/sys/kernel/random/boot_id"; } 2>/dev/null || boot=$(sysctl -n kern.boottime 2>/dev/null | tr -dc 0-9)
  echo "\${boot:-unknown}" | cut -c1-13
}
host_name() { uname -n | tr -dc 'A-Za-z0-9.-'; }`;

/** Every process: pid, parent, group, session, state, start, CPU ticks (with those of waited-for children), memory pages, elapsed seconds. */
const TABLE = `
table() {
  if [ -r "$proc/self/stat" ]; then
    read -r up idle <"$proc/uptime"
    cat "$proc"/[0-9]*/stat 2>/dev/null | awk -v up="$up" -v tick="$tick" '/^[0-9]+ \\(/ {
      pid = $1; sub(/^.*\\) /, ""); if ($1 == "Z" || $1 == "X") next
      print pid, $2, $3, $4, $1, $20, $12 + $13 + $14 + $15, $22, int(up - $20 / tick) }'
  else
    ps -A -o pid= -o ppid= -o pgid= -o stat= -o time= -o rss= -o etime= -o lstart= 2>/dev/null | awk -v tick="$tick" '
      function seconds(text,  n, part, days) {
        if (split(text, part, "-") == 2) { days = part[1]; text = part[2] }
        n = split(text, part, ":"); return ((days * 24 + (n > 2 ? part[n - 2] : 0)) * 60 + part[n - 1]) * 60 + part[n] }
      $4 !~ /^[ZX]/ { start = $8 "_" $9 "_" $10 "_" $11 "_" $12; gsub(":", ".", start)
        print $1, $2, $3, $3, $4, start, seconds($5) * tick, $6, seconds($7) }'
  fi
}
tick=100; page=1024
if [ -r "$proc/self/stat" ]; then
  tick=$(getconf CLK_TCK 2>/dev/null) || tick=100
  page=$(getconf PAGESIZE 2>/dev/null) || page=4096
fi`;

/**
 * \`marked [NAME]\`: lines `pid name` of the processes that carry a job's name in their environment, whatever session they
 * are in. Slurm jobs that they submitted are jobs of their own.
 */
const MARKED = `
marked() {
  for file in $(grep -lF "${MARK}=\${1:-}" "$proc"/[0-9]*/environ 2>/dev/null); do
    mark=$({ tr '\\0' '\\n' <"$file" | awk -F= '
      $1 == "${MARK}" { mark = $2 } $1 == "${WITHIN}" { within = $2 } $1 == "SLURM_JOB_ID" { slurm = $2 }
      END { if (slurm == "" || slurm == within) print mark }'; } 2>/dev/null)
    file=\${file%/environ}
    echo "\${file##*/} \${mark:--}"
  done
}`;

/**
 * \`members NAME STATE-DIRECTORY [TABLE MARKS]\`: lines of the table, for the body's session and group, the marked, and all
 * below those. Where the body's number belongs to another process now, its session is not the job's.
 */
const MEMBERS = `
members() {
  body=0 start=0
  { read -r body start <"$2/body"; } 2>/dev/null
  if [ $# -gt 2 ]; then marks=$4; else marks=$(marked "$1"); fi
  if [ $# -gt 2 ]; then printf '%s\\n' "$3"; else table; fi |
  awk -v me="$$" -v name="$1" -v body="$body" -v start="$start" -v marks="$(echo "$marks" | tr '\\n' ' ')" '
    BEGIN { n = split(marks, list, " "); for (i = 1; i < n; i += 2) if (list[i + 1] == name) mark[list[i]] = 1 }
    NF > 5 { row[$1] = $0; parent[$1] = $2; group[$1] = $3; session[$1] = $4; began[$1] = $6 }
    END {
      trusted = body > 1 && (!(body in row) || began[body] == start)
      for (p in row) if ((p in mark) || (trusted && (p == body || group[p] == body || session[p] == body))) in_it[p] = 1
      do { grown = 0; for (p in row) if (!(p in in_it) && (parent[p] in in_it)) { in_it[p] = 1; grown = 1 } } while (grown)
      for (p in in_it) if (p != me) print row[p]
    }'
}`;

/** Seconds by a clock that only runs forward, where the machine tells. */
const NAP = `
now() { if [ -r "$proc/uptime" ]; then read -r up idle <"$proc/uptime"; echo "\${up%%.*}"; else date +%s; fi; }
nap() { sleep 0.2 2>/dev/null || sleep 1; }
pids() { members "$@" | cut -d' ' -f1 | tr '\\n' ' '; }
signal_all() { for pid in $2; do kill -s "$1" "$pid" 2>/dev/null; done; }`;

/**
 * \`end_tree NAME STATE-DIRECTORY GRACE\`: TERM, that many seconds, KILL; fails if something is left even then. CONT too,
 * for what is stopped takes a TERM only then.
 */
const END_TREE = `
end_tree() {
  left=$(pids "$1" "$2")
  [ -z "$left" ] && return 0
  signal_all TERM "$left"
  signal_all CONT "$left"
  until=$(($(now) + $3))
  while left=$(pids "$1" "$2"); [ -n "$left" ]; do
    [ "$(now)" -ge "$until" ] && break
    nap
  done
  round=0
  while left=$(pids "$1" "$2"); [ -n "$left" ]; do
    [ $round -ge 25 ] && return 1
    signal_all KILL "$left"
    round=$((round + 1))
    nap
  done
  return 0
}`;

export function shellLibrary(proc: string): string {
  return `proc='${proc.replaceAll("'", '')}'\n${[START_OF, WHERE, TABLE, MARKED, MEMBERS, NAP, END_TREE].join('').trim()}`;
}
