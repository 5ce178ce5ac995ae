import { useRef, useState } from 'preact/hooks';
import type { LinkView } from '../../../ground/protocol/job-link.ts';
import { type LinkOfJob, queueAddress, submitAddress } from '../base/address.ts';
import { ask, type Refused } from '../base/api.ts';
import { formatPercent, formatTime, formatValue } from '../base/format.ts';
import { isUnderWay, lifeOf, STATE_WORDS } from '../base/life.ts';
import { nextLookSeconds } from '../base/pace.ts';
import { useLive } from '../base/use-live.ts';
import { CancelJob } from '../parts/cancel-job.tsx';
import { JobResults } from '../parts/job-results.tsx';
import { JobTasks } from '../parts/job-tasks.tsx';
import { Layout } from '../parts/layout.tsx';
import { LogView } from '../parts/log-view.tsx';
import { Notice, Silence } from '../parts/notice.tsx';
import { ProgressBar } from '../parts/progress-bar.tsx';
import { StateBadge } from '../parts/state-badge.tsx';

export function JobPage({ link }: { readonly link: LinkOfJob }) {
  const params = { project: link.project, number: link.number, secret: link.secret };
  const { value, refusal, silentFor, lookNow } = useLive({
    look: (signal) => ask('link', { params, signal }),
    pace: (job, watched) => nextLookSeconds(job.retryAfterSeconds, watched),
    key: JSON.stringify(params),
  });
  const title = value === undefined ? `Job ${link.number}` : (value.name ?? `Job ${value.number}`);
  return (
    <Layout title={title} tabTitle={value ? tabTitleOf(value) : title}>
      <Silence seconds={silentFor} onTry={lookNow} />
      {refusal && <Unknown refusal={refusal} />}
      {!refusal && value === undefined && <p>Looking…</p>}
      {!refusal && value && <Job link={params} job={value} onChanged={lookNow} />}
    </Layout>
  );
}

function tabTitleOf({ state, progress, number, service }: LinkView): string {
  const share = isUnderWay(state) && progress?.fraction !== undefined ? ` ${formatPercent(progress.fraction)}` : '';
  return `${STATE_WORDS[state]}${share} · job ${number} · ${service}`;
}

function Unknown({ refusal }: { readonly refusal: Refused }) {
  if (refusal.status !== 404 && refusal.status !== 400)
    return (
      <Notice tone="bad" isUrgent>
        <p>{refusal.message}</p>
      </Notice>
    );
  return (
    <Notice tone="bad" isUrgent>
      <p>There is no such job, or this link is not complete.</p>
      <p>
        Look at the link again: its last part is long, and programs for mail like to break it. A job that was deleted is
        not shown either.
      </p>
    </Notice>
  );
}

interface JobProps {
  readonly link: LinkOfJob;
  readonly job: LinkView;
  readonly onChanged: () => void;
}

function Job({ link, job, onChanged }: JobProps) {
  const [isNew] = useState(() => sessionStorage.getItem('pilotage-added') === job.number);
  return (
    <>
      <p class="help">
        Job {job.number} of {job.title ?? job.service}
      </p>
      {isUnderWay(job.state) || isNew ? <KeepLink isNew={isNew} /> : null}
      <State job={job} />
      {isUnderWay(job.state) && <CancelJob link={link} isCancelling={job.cancelling} onDone={onChanged} />}
      {job.results && <JobResults link={link} results={job.results} />}
      <Parameters job={job} />
      {job.tasks.length > 0 && <JobTasks link={link} tasks={job.tasks} />}
      {job.log !== null && job.log !== '' && (
        <section aria-labelledby="log-title">
          <h2 id="log-title">Log</h2>
          <LogView label="Log of the job" text={job.log} />
        </section>
      )}
      <p class="actions">
        <a href={submitAddress(job.project, job.service)}>Add another job</a>
        <a href={queueAddress(job.project, job.service)}>Queue</a>
      </p>
    </>
  );
}

function KeepLink({ isNew }: { readonly isNew: boolean }) {
  const input = useRef<HTMLInputElement>(null);
  const [isCopied, setCopied] = useState(false);
  const copy = async (): Promise<void> => {
    input.current?.select();
    await navigator.clipboard.writeText(location.href);
    setCopied(true);
  };
  return (
    <Notice tone={isNew ? 'good' : 'calm'}>
      <p>
        {isNew && <b>The job is added. </b>}
        Keep this link: it is the only key to this job. Whoever has it sees the job and its results.
      </p>
      <div class="row">
        <input
          ref={input}
          aria-label="Link of this job"
          readOnly
          value={location.href}
          onFocus={(event) => event.currentTarget.select()}
        />
        {/* Without TLS browsers lend no clipboard. */}
        {'clipboard' in navigator && (
          <button type="button" onClick={() => void copy().catch(() => setCopied(false))}>
            {isCopied ? 'Copied' : 'Copy'}
          </button>
        )}
      </div>
    </Notice>
  );
}

function State({ job }: { readonly job: LinkView }) {
  const { state, progress, createdAt, startedAt, finishedAt } = job;
  return (
    <section class="card" aria-labelledby="state-title">
      <h2 id="state-title">
        State <StateBadge state={state} />
      </h2>
      <ol class="life" aria-label="Life of the job">
        {lifeOf(state, startedAt !== null).map(({ word, when }) => (
          <li key={word} class={when.replace(' ', '-')} aria-current={when === 'is' ? 'step' : undefined}>
            {word}
          </li>
        ))}
      </ol>
      <p role="status">
        {job.cancelling && isUnderWay(state) ? 'It is being cancelled. ' : ''}
        {job.message}
      </p>
      {isUnderWay(state) && progress !== null && (
        <ProgressBar label="Progress of the job" fraction={progress.fraction} text={progress.message ?? ''} />
      )}
      <dl class="facts">
        <Moment title="Added" time={createdAt} />
        <Moment title="Started" time={startedAt} />
        <Moment title="Ended" time={finishedAt} />
      </dl>
    </section>
  );
}

function Moment({ title, time }: { readonly title: string; readonly time: string | null }) {
  if (time === null) return null;
  return (
    <div>
      <dt>{title}</dt>
      <dd>
        <time dateTime={time}>{formatTime(time)}</time>
      </dd>
    </div>
  );
}

function Parameters({ job: { parameters, labels } }: { readonly job: LinkView }) {
  if (labels.length === 0) return null;
  return (
    <section aria-labelledby="parameters-title">
      <h2 id="parameters-title">Parameters</h2>
      <dl class="parameters">
        {labels.map(({ name, label }) => (
          <div key={name}>
            <dt>{label}</dt>
            <dd>{formatValue(parameters[name])}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
