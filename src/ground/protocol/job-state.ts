import Type from 'typebox';

export const JOB_STATES = [
  'INCOMING',
  'PREPROCESSING',
  'RUNNING',
  'POSTPROCESSING',
  'FINALIZING',
  'COMPLETED',
  'ARCHIVED',
  'EXPIRED',
  'FAILED',
  'CANCELLED',
] as const;
export type JobState = (typeof JOB_STATES)[number];
export const JobState = Type.Unsafe<JobState>(Type.Union(JOB_STATES.map((state) => Type.Literal(state))));
