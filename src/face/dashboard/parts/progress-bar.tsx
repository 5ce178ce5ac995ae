import { formatPercent } from '../base/format.ts';

interface ProgressBarProps {
  readonly label: string;
  /** Unknown: it moves, and nobody knows how far. */
  readonly fraction: number | undefined;
  readonly text?: string;
}

export function ProgressBar({ label, fraction, text }: ProgressBarProps) {
  const known = fraction === undefined ? undefined : formatPercent(fraction);
  return (
    <div class="progress">
      <progress aria-label={label} max={1} {...(fraction === undefined ? {} : { value: fraction })} />
      <span>{[known, text].filter((part) => part !== undefined && part !== '').join(' · ')}</span>
    </div>
  );
}
