import { useRef, useState } from 'preact/hooks';
import type { LinkOfJob } from '../base/address.ts';
import { ask } from '../base/api.ts';

interface CancelJobProps {
  readonly link: LinkOfJob;
  readonly isCancelling: boolean;
  readonly onDone: () => void;
}

export function CancelJob({ link, isCancelling, onDone }: CancelJobProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [failure, setFailure] = useState<string>();
  const cancel = async (): Promise<void> => {
    dialog.current?.close();
    try {
      await ask('cancelLink', { params: link, method: 'POST' });
      setFailure(undefined);
      onDone();
    } catch (error) {
      setFailure(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <p class="actions">
      <button type="button" disabled={isCancelling} onClick={() => dialog.current?.showModal()}>
        {isCancelling ? 'Being cancelled…' : 'Cancel the job'}
      </button>
      {failure !== undefined && (
        <span class="error" role="alert">
          It was not cancelled: {failure}
        </span>
      )}
      <dialog ref={dialog} aria-labelledby="cancel-title">
        <h2 id="cancel-title">Cancel this job?</h2>
        <p>What it has computed so far is not kept as results.</p>
        <p class="actions">
          <button type="button" onClick={() => dialog.current?.close()}>
            Let it run
          </button>
          <button type="button" class="danger" onClick={() => void cancel()}>
            Cancel the job
          </button>
        </p>
      </dialog>
    </p>
  );
}
