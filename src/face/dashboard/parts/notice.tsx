import type { ComponentChildren } from 'preact';

interface NoticeProps {
  readonly tone: 'calm' | 'good' | 'bad';
  /** Read out at once by screen readers. */
  readonly isUrgent?: boolean;
  readonly children: ComponentChildren;
}

export function Notice({ tone, isUrgent = false, children }: NoticeProps) {
  return (
    <div class={`notice ${tone}`} role={isUrgent ? 'alert' : undefined}>
      {children}
    </div>
  );
}

/** The server does not answer for the time being. The place for it is there always: so it is read out when it fills. */
export function Silence({ seconds, onTry }: { readonly seconds: number | undefined; readonly onTry: () => void }) {
  return (
    <div role="status">
      {seconds !== undefined && (
        <div class="notice bad">
          <p>
            No answer from the server, trying again{seconds >= 2 ? ` in ${Math.round(seconds)} s` : ''}. What is shown
            is as old as the last answer; nothing is lost by that.
          </p>
          <button type="button" onClick={onTry}>
            Try now
          </button>
        </div>
      )}
    </div>
  );
}
