import { quote } from '../../transport/quote.ts';
import type { BatchRef } from '../scheduler.ts';

/** Also the ended ones that it still lists (`finished_jobs`, 100 of a cluster by default). */
export function queueCommand(seconds: number): string {
  return `export LC_ALL=C\nwithin ${seconds} qstat -xml -u "$(id -un)" -s prsz`;
}

/** At most so many are played through in one poll: each costs the master a scheduling run. */
const VERIFIED = 5;

/**
 * Only when something of ours waits is more asked: why, and for a few of those that the scheduler cannot place whether
 * they ever could run. `qstat -j` fails if one id is unknown, and tells of the others all the same.
 */
export function pollCommand(jobs: readonly BatchRef[], seconds: number): string {
  const ids = jobs.map((job) => number(job.id)).join(' ');
  return `export LC_ALL=C
xml=$(${`within ${seconds} qstat -xml -u "$(id -un)" -s prsz`}); code=$?
printf '%s\\n' "$xml"
[ $code -eq 0 ] || exit $code
waiting=$(printf '%s\\n' "$xml" | awk '/<JB_job_number>/ { gsub(/[^0-9]/, ""); id = $0 } /<state>[A-Za-z]*w[A-Za-z]*<\\/state>/ { print id }')
ours=''
for id in ${ids}; do case "
$waiting
" in *"
$id
"*) ours="$ours \${ours:+,}$id" ;; esac; done
[ -n "$ours" ] || exit 0
reasons=$(within ${seconds} qstat -j "$(echo "$ours" | tr -d ' ')" 2>/dev/null)
printf '@reasons\\n%s\\n@verified\\n' "$reasons"
printf '%s\\n' "$reasons" | awk '/^job_number:/ { id = $2 } /cannot run|no suitable|has no permission|not (offer|suitable)/ { if (id != seen) print id; seen = id }' |
head -n ${VERIFIED} | while read -r id; do echo "@job $id"; within ${seconds} qalter -w v "$id" 2>&1; done
exit 0`;
}

/** What was cancelled leaves no trace in the accounting (and, while waiting, no record at all): a file tells. */
export function cancelledFile(job: Pick<BatchRef, 'name' | 'directory'>): string {
  return quote(`${job.directory}/.${job.name}.cancelled`);
}

export function number(id: string): string {
  return /^\d+$/.test(id) ? id : '0';
}
