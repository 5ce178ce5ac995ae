import { useEffect, useState } from 'preact/hooks';
import type { JobState } from '../../../ground/protocol/job-state.ts';
import type { QueuedJob, ServiceQueue } from '../../../ground/protocol/service.ts';
import { jobAddress, type OfService } from '../base/address.ts';
import { ask } from '../base/api.ts';
import { formatCount, formatPercent, formatTime } from '../base/format.ts';
import { STATE_WORDS, STATES } from '../base/life.ts';
import { useLive } from '../base/use-live.ts';
import { Layout } from '../parts/layout.tsx';
import { Silence } from '../parts/notice.tsx';
import { SignIn, useSession } from '../parts/sign-in.tsx';
import { StateBadge } from '../parts/state-badge.tsx';

const PAGE = 100;
const REFRESH_SECONDS = 5;

export function QueuePage(params: OfService) {
  const session = useSession();
  const [states, setStates] = useStates();
  /** Where each page that one has gone to begins; the first has no beginning. */
  const [pages, setPages] = useState<readonly string[]>([]);
  const after = pages.at(-1);
  const query = {
    limit: PAGE,
    ...(after === undefined ? {} : { after }),
    ...(states.length === 0 ? {} : { state: states.join(',') }),
  };
  const { value, refusal, silentFor, lookNow } = useLive({
    look: async (signal) => (session.token === undefined ? undefined : ask('serviceQueue', { params, query, signal })),
    pace: (seen) => (seen === undefined ? null : REFRESH_SECONDS),
    key: JSON.stringify([session.token, query]),
  });
  const title = value?.title ?? params.service;
  return (
    <Layout
      title={`Queue of ${title}`}
      service={params}
      here="queue"
      onSignOut={session.token === undefined ? undefined : session.signOut}
    >
      <Silence seconds={silentFor} onTry={lookNow} />
      {session.token === undefined || refusal ? (
        <SignIn session={session} refusal={refusal} />
      ) : (
        <>
          {value?.hosted === false && <p class="help">Its host is away: jobs wait until it is back.</p>}
          <Filter
            counts={value?.counts ?? {}}
            states={states}
            onChange={(chosen) => {
              setPages([]);
              setStates(chosen);
            }}
          />
          {value === undefined ? (
            <p>Looking…</p>
          ) : (
            <Jobs queue={value} project={params.project} isFiltered={states.length > 0} />
          )}
          <p class="actions">
            <button type="button" disabled={pages.length === 0} onClick={() => setPages(pages.slice(0, -1))}>
              Newer
            </button>
            <button
              type="button"
              disabled={value === undefined || value.next === null}
              onClick={() => value?.next != null && setPages([...pages, value.next])}
            >
              Older
            </button>
            <span class="help">Page {pages.length + 1}</span>
          </p>
        </>
      )}
    </Layout>
  );
}

/** The chosen states are in the address, so that a page that is loaded again, or sent to somebody, shows the same. */
function useStates(): [readonly JobState[], (states: readonly JobState[]) => void] {
  const [states, setStates] = useState<readonly JobState[]>(() => {
    const asked = (new URLSearchParams(location.search).get('state') ?? '').split(',');
    return STATES.filter((state) => asked.includes(state));
  });
  useEffect(() => {
    const search = states.length === 0 ? '' : `?state=${states.join(',')}`;
    history.replaceState(history.state, '', location.pathname + search + location.hash);
  }, [states]);
  return [states, setStates];
}

interface FilterProps {
  readonly counts: Readonly<Record<string, number>>;
  readonly states: readonly JobState[];
  readonly onChange: (states: readonly JobState[]) => void;
}

function Filter({ counts, states, onChange }: FilterProps) {
  const shown = STATES.filter((state) => (counts[state] ?? 0) > 0 || states.includes(state));
  if (shown.length === 0) return null;
  return (
    <fieldset class="filter">
      <legend>Show only</legend>
      {shown.map((state) => (
        <label key={state} class="chip">
          <input
            type="checkbox"
            checked={states.includes(state)}
            onChange={(event) => {
              const isOn = event.currentTarget.checked;
              onChange(STATES.filter((one) => (one === state ? isOn : states.includes(one))));
            }}
          />
          {STATE_WORDS[state]} <b>{(counts[state] ?? 0).toLocaleString()}</b>
        </label>
      ))}
    </fieldset>
  );
}

interface JobsProps {
  readonly queue: ServiceQueue;
  readonly project: string;
  readonly isFiltered: boolean;
}

function Jobs({ queue, project, isFiltered }: JobsProps) {
  const all = Object.values(queue.counts).reduce((sum, count) => sum + count, 0);
  if (queue.jobs.length === 0) return <p>{isFiltered ? 'No jobs in these states here.' : 'No jobs yet.'}</p>;
  return (
    <div class="table">
      <table>
        <caption>{formatCount(all, 'job')} in all, newest first; this list keeps itself up to date</caption>
        <thead>
          <tr>
            <th scope="col">Job</th>
            <th scope="col">State</th>
            <th scope="col">Added</th>
            <th scope="col">Ended</th>
          </tr>
        </thead>
        <tbody>
          {queue.jobs.map((job) => (
            <Job key={job.number} job={job} project={project} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Job({ job, project }: { readonly job: QueuedJob; readonly project: string }) {
  const { number, secret, name, state, progress, createdAt, finishedAt } = job;
  return (
    <tr>
      <th scope="row">
        {secret === null ? (
          <span class="number">{number}</span>
        ) : (
          <a class="number" href={jobAddress({ project, number, secret })}>
            {number}
          </a>
        )}{' '}
        {name !== null && <span class="job-name">{name}</span>}
      </th>
      <td>
        <StateBadge state={state} />{' '}
        {finishedAt === null && progress?.fraction !== undefined && <span>{formatPercent(progress.fraction)}</span>}{' '}
        {finishedAt === null && progress?.message && <span class="help">{progress.message}</span>}
      </td>
      <td data-label="Added">
        <time dateTime={createdAt}>{formatTime(createdAt)}</time>
      </td>
      <td data-label="Ended">
        {finishedAt === null ? '–' : <time dateTime={finishedAt}>{formatTime(finishedAt)}</time>}
      </td>
    </tr>
  );
}
