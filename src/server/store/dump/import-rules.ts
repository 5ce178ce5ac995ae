import type { Value } from './snapshot.ts';

/**
 * What becomes of a column of an exported row. Names of numbers (`submission`, …): numbers of the export are replaced by
 * new ones; one that stands for nothing is refused. `?`: it may be null. `put`: not taken from the export at all.
 */
export type Rule =
  | 'own'
  | 'project'
  | 'queue'
  | 'submission'
  | 'submission?'
  | 'dependency'
  | 'job'
  | 'job?'
  | 'service'
  | 'uid'
  | 'digest'
  | 'digest?'
  | 'count'
  | 'count?'
  | 'index'
  | 'real?'
  | 'integer?'
  | 'word'
  | 'word?'
  | 'text'
  | 'text?'
  | 'json'
  | 'json?'
  | 'spec'
  | 'reused?'
  | { readonly oneOf: readonly string[] }
  | { readonly put: Value | 'now' | 'sequence' };

type Rules = Readonly<Record<string, Rule>>;

const STATES = ['waiting', 'queued', 'running', 'succeeded', 'failed', 'cancelled'];
const JOB_STATES = [
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
];
const NONE = { put: null } as const;
const ZERO = { put: 0 } as const;

/** For each table that is inserted, each of its columns: a test holds them against the database's. */
export const IMPORT_RULES: Readonly<Record<string, Rules>> = {
  submissions: {
    id: 'own',
    project_id: 'project',
    queue_id: 'queue',
    owner: 'text',
    name: 'text?',
    request_id: NONE,
    step: 'count',
    created_at: 'count',
    priority: 'integer?',
    tasks: ZERO,
    gate: { put: 'loading' },
    ending: NONE,
    claimable: ZERO,
    waiting_for: ZERO,
    not_before: 'count?',
    // While it loads nobody takes it for abandoned.
    waiting_since: { put: 9e15 },
    has_dependents: ZERO,
    spec: 'spec',
    extras: 'count',
    question: 'text?',
    reused: 'count',
    opened: ZERO,
  },
  dependencies: { submission_id: 'submission', on_submission: 'dependency', on_idx: 'index', done: 'count' },
  tasks: {
    submission_id: 'submission',
    idx: 'count',
    state: { oneOf: STATES },
    attempt: 'count',
    attempt_state: { oneOf: ['open', 'reported', 'closed'] },
    session_id: NONE,
    exchange_number: NONE,
    secret_hash: NONE,
    claimed_at: 'count?',
    started_at: 'count?',
    finished_at: 'count?',
    not_before: NONE,
    failures: 'count',
    losses: 'count',
    planned_ends: 'count',
    reason: 'word?',
    exit_code: 'integer?',
    progress: 'json?',
    payload: 'json?',
    inputs: 'json?',
    document: 'text?',
    revision: 'count',
    sequence: { put: 'sequence' },
    reused_from: 'reused?',
    question: 'text?',
    site_state: NONE,
  },
  attempts: {
    submission_id: 'submission',
    idx: 'count',
    attempt: 'count',
    outcome: 'word',
    session_id: NONE,
    started_at: 'count?',
    ended_at: 'count',
    exit_code: 'integer?',
    signal: 'text?',
    reason: 'word?',
    message: 'text?',
    wall_seconds: 'real?',
    cpu_seconds: 'real?',
    peak_memory: 'count?',
    outputs: 'json?',
    result: 'json?',
  },
  logs: {
    submission_id: 'submission',
    idx: 'count',
    attempt: 'count',
    stream: 'word',
    start_offset: 'count',
    data: 'text?',
    digest: 'digest?',
    size: 'count',
  },
  blob_uses: { project_id: 'project', digest: 'digest', submission_id: 'submission' },
  checkpoints: {
    submission_id: 'submission',
    idx: 'count',
    attempt: 'count',
    number: 'count',
    created_at: 'count',
    files: 'json',
    suspect: 'count',
  },
  checkpoint_blobs: {
    project_id: 'project',
    digest: 'digest',
    submission_id: 'submission',
    idx: 'count',
    attempt: 'count',
    number: 'count',
  },
  services: {
    id: 'own',
    project_id: 'project',
    name: 'word',
    title: 'text?',
    schema: 'json',
    incoming: 'text?',
    archive_ms: 'count?',
    expire_ms: 'count?',
    created_at: 'count',
    host_number: ZERO,
    host_secret: NONE,
    host: NONE,
    host_since: NONE,
    host_until: ZERO,
    ended_at: { put: 'now' },
    end_reason: NONE,
    touched: ZERO,
    nudged: ZERO,
    most_waiting: 'count?',
    most_of_owner: 'count?',
    // Who is told of what: its host says so when it comes.
    mail_admins: { put: '[]' },
    mail_users: { put: 1 },
    webhooks: { put: '[]' },
    told_host: ZERO,
  },
  jobs: {
    id: 'own',
    project_id: 'project',
    uid: 'uid',
    number: 'word',
    parent_id: 'job?',
    name: 'text?',
    owner: 'text',
    site: 'text?',
    command: 'json?',
    submission_id: 'submission?',
    state: 'word?',
    reason: 'text?',
    created_at: 'count',
    started_at: 'count?',
    finished_at: 'count?',
  },
  job_entries: {
    job_id: 'job',
    uid: 'text',
    number: 'count',
    kind: { oneOf: ['process', 'step', 'file', 'note'] },
    body: 'json',
  },
  service_jobs: {
    job_id: 'job',
    service_id: 'service',
    request_id: NONE,
    // Links are secrets of the server that made them: none opens here.
    link_hash: { put: 'imported' },
    contact: 'text?',
    parameters: 'json',
    metadata: 'json',
    times: 'json',
    ended_at: 'count?',
    step: 'count',
    run: 'count',
    intent: NONE,
    wish: NONE,
    wish_reason: NONE,
    waiting: ZERO,
    settled: { put: 1 },
    active: ZERO,
    touched: ZERO,
    due_at: NONE,
    directory: NONE,
    target: NONE,
    data: 'text?',
    runner: NONE,
    failure: 'text?',
    progress: NONE,
    inputs: 'json?',
    results: 'json?',
  },
  job_blobs: { project_id: 'project', digest: 'digest', job_id: 'job', kind: { oneOf: ['input', 'result'] } },
  job_logs: { job_id: 'job', text: 'text' },
  documents: {
    project_id: 'project',
    id: 'text',
    revision: 'count',
    rev_hash: 'text',
    task_revision: 'count',
    deleted: ZERO,
    body: 'json',
    attachments: 'json?',
    submission_id: 'submission?',
    idx: 'count?',
    attempt: 'count',
    claims: NONE,
    lock_until: NONE,
    sequence: { put: 'sequence' },
  },
  document_blobs: { project_id: 'project', digest: 'digest', document_id: 'text' },
};

/** The columns of a table that an export holds: no secrets, and nothing that only has a meaning where it was. */
export function exportedColumns(table: string, columns: readonly string[]): string[] {
  const rules = IMPORT_RULES[table];
  if (!rules) return [...columns];
  return columns.filter((column) => {
    const rule = rules[column];
    return rule !== undefined && !(typeof rule === 'object' && 'put' in rule);
  });
}

/** States in which nothing of a job is under way. */
export const ENDED_JOBS = new Set(JOB_STATES.slice(JOB_STATES.indexOf('COMPLETED')));
export const KNOWN_JOB_STATES = new Set(JOB_STATES);
