import { useState } from 'preact/hooks';
import type { LinkResults, LinkView } from '../../../ground/protocol/job-link.ts';
import type { LinkOfJob } from '../base/address.ts';
import { addressOf, ask } from '../base/api.ts';
import { formatCount, formatSize, formatTime } from '../base/format.ts';
import { useLive } from '../base/use-live.ts';
import { Silence } from './notice.tsx';

interface JobResultsProps {
  readonly link: LinkOfJob;
  readonly results: NonNullable<LinkView['results']>;
}

export function JobResults({ link, results }: JobResultsProps) {
  const { value, refusal, silentFor, lookNow } = useLive({
    look: (signal) => ask('linkResults', { params: link, signal }),
    pace: () => null,
    key: JSON.stringify([link, results]),
  });
  return (
    <section class="card" aria-labelledby="results-title">
      <h2 id="results-title">Results</h2>
      <p>
        {formatCount(results.files, 'file')}, {formatSize(results.bytes)}.{' '}
        {results.until === null ? 'They stay here.' : <Until time={results.until} />}
      </p>
      {results.files > 0 && (
        <p class="actions">
          <a class="button primary" href={addressOf('linkZip', { params: link })} download>
            All as zip
          </a>
        </p>
      )}
      <Silence seconds={silentFor} onTry={lookNow} />
      {refusal && <p class="error">{refusal.message}</p>}
      {value && value.files.length > 0 && <Files link={link} files={value.files} />}
    </section>
  );
}

function Until({ time }: { readonly time: string }) {
  return (
    <>
      They stay until <time dateTime={time}>{formatTime(time)}</time>.
    </>
  );
}

const STEP = 200;

function Files({ link, files }: { readonly link: LinkOfJob; readonly files: LinkResults['files'] }) {
  const [shown, setShown] = useState(STEP);
  return (
    <>
      <ul class="files">
        {files.slice(0, shown).map(({ path, size }) => (
          <li key={path}>
            <a class="name" href={fileAddress(link, path)} download>
              {path}
            </a>
            <span class="size">{formatSize(size)}</span>
          </li>
        ))}
      </ul>
      {files.length > shown && (
        <button type="button" onClick={() => setShown(shown + STEP)}>
          Show more ({(files.length - shown).toLocaleString()} left)
        </button>
      )}
    </>
  );
}

function fileAddress(link: LinkOfJob, path: string): string {
  return `${addressOf('link', { params: link })}/files/${path.split('/').map(encodeURIComponent).join('/')}`;
}
