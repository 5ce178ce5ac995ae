import { Refused } from '../base/api.ts';
import { formatSize } from '../base/format.ts';
import type { Sent } from '../form/upload.ts';
import { Notice } from './notice.tsx';
import { ProgressBar } from './progress-bar.tsx';

/** Filling in, sending, and what came of it. Sent means: the job is there, and its page is being opened. */
export type Stage =
  | { readonly at: 'filling' }
  | { readonly at: 'sending'; readonly sent: Sent | undefined }
  | { readonly at: 'refused'; readonly isForNow: boolean; readonly message: string }
  | { readonly at: 'no-answer' }
  | { readonly at: 'sent' };

export function stageAfter(error: unknown): Stage {
  if (error instanceof Refused) {
    const isForNow = error.status === 429 || error.status >= 500;
    return { at: 'refused', isForNow, message: error.message };
  }
  if (error instanceof DOMException && error.name === 'AbortError') return { at: 'filling' };
  return { at: 'no-answer' };
}

interface OutcomeProps {
  readonly stage: Stage;
  readonly wrong: number;
  readonly onCancel: () => void;
}

export function Outcome({ stage, wrong, onCancel }: OutcomeProps) {
  switch (stage.at) {
    case 'filling':
      return wrong === 0 ? null : (
        <Notice tone="bad" isUrgent>
          <p>
            {wrong === 1 ? 'One field needs' : `${wrong} fields need`} another look: see what is written there. Nothing
            was sent.
          </p>
        </Notice>
      );
    case 'sending':
      return <Sending sent={stage.sent} onCancel={onCancel} />;
    case 'sent':
      return (
        <Notice tone="good" isUrgent>
          <p>The job is added. Its page opens…</p>
        </Notice>
      );
    case 'refused':
      return (
        <Notice tone="bad" isUrgent>
          <p>
            {stage.isForNow
              ? 'The server takes no job for now. What you filled in is still here: submit again later.'
              : 'The server did not take this job. Change what it says and submit again:'}
          </p>
          <p>{stage.message}</p>
        </Notice>
      );
    case 'no-answer':
      return (
        <Notice tone="bad" isUrgent>
          <p>
            The connection broke before an answer came. What you filled in is still here: try again when you are
            connected. It makes one job, also if the first attempt did arrive.
          </p>
        </Notice>
      );
  }
}

function Sending({ sent, onCancel }: { readonly sent: Sent | undefined; readonly onCancel: () => void }) {
  const isAllSent = sent !== undefined && sent.sentBytes >= sent.allBytes;
  const fraction = sent === undefined || isAllSent || sent.allBytes === 0 ? undefined : sent.sentBytes / sent.allBytes;
  const text = isAllSent
    ? `${formatSize(sent.allBytes)} sent, waiting for the answer`
    : sent && `${formatSize(sent.sentBytes)} of ${formatSize(sent.allBytes)}`;
  return (
    <div class="notice calm">
      <p role="status">Sending…</p>
      <ProgressBar label="Upload" fraction={fraction} text={text ?? ''} />
      <button type="button" onClick={onCancel}>
        Cancel the upload
      </button>
    </div>
  );
}
