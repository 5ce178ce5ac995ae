import { useState } from 'preact/hooks';
import type { LinkView } from '../../../ground/protocol/job-link.ts';
import type { TaskStatus } from '../../../ground/protocol/task-state.ts';
import type { LinkOfJob } from '../base/address.ts';
import { askForText } from '../base/api.ts';
import { nextLookSeconds } from '../base/pace.ts';
import { useLive } from '../base/use-live.ts';
import { LogView } from './log-view.tsx';
import { Silence } from './notice.tsx';

type LinkTask = LinkView['tasks'][number];

const TONES = {
  waiting: 'calm',
  queued: 'calm',
  running: 'busy',
  succeeded: 'good',
  failed: 'bad',
  cancelled: 'calm',
} as const satisfies Record<TaskStatus, string>;

export function JobTasks({ link, tasks }: { readonly link: LinkOfJob; readonly tasks: readonly LinkTask[] }) {
  return (
    <section aria-labelledby="tasks-title">
      <h2 id="tasks-title">Tasks</h2>
      {tasks.map((task) => (
        <Task key={task.id} link={link} task={task} />
      ))}
    </section>
  );
}

/** Its log is fetched when somebody opens it. */
function Task({ link, task }: { readonly link: LinkOfJob; readonly task: LinkTask }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <details class="task" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <span class="number">{task.id}</span> <span class={`badge ${TONES[task.state]}`}>{task.state}</span>{' '}
        {task.exitCode !== null && <span class="help">exit code {task.exitCode}</span>}
      </summary>
      {isOpen && <TaskLog link={link} task={task} />}
    </details>
  );
}

function TaskLog({ link, task }: { readonly link: LinkOfJob; readonly task: LinkTask }) {
  const isOver = ['succeeded', 'failed', 'cancelled'].includes(task.state);
  const { value, refusal, silentFor, lookNow } = useLive({
    look: (signal) => askForText('linkLog', { params: { ...link, task: task.id }, signal }),
    pace: (_, watched) => nextLookSeconds(isOver ? null : 60, watched),
    key: JSON.stringify([link, task.id, isOver]),
  });
  return (
    <>
      <Silence seconds={silentFor} onTry={lookNow} />
      {refusal && <p class="error">{refusal.message}</p>}
      {value === '' && <p class="help">It has written nothing{isOver ? '' : ' so far'}.</p>}
      {value && <LogView label={`Log of task ${task.id}`} text={value} />}
    </>
  );
}
