import Type from 'typebox';
import { JOB_STATES, type JobState as State } from '../base/job-state.ts';

export { JOB_STATES };
export type JobState = State;
export const JobState = Type.Unsafe<JobState>(Type.Union(JOB_STATES.map((state) => Type.Literal(state))));
