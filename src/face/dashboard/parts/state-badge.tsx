import type { JobState } from '../../../ground/protocol/job-state.ts';
import { STATE_WORDS, TONES } from '../base/life.ts';

export function StateBadge({ state }: { readonly state: JobState }) {
  return <span class={`badge ${TONES[state]}`}>{STATE_WORDS[state]}</span>;
}
