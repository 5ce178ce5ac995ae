import { JOB_RULES } from './import-job-rules.ts';
import type { Rules } from './import-rule.ts';

const STATES = ['waiting', 'queued', 'running', 'succeeded', 'failed', 'cancelled'];
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
    created_at: 'time',
    priority: 'integer?',
    tasks: ZERO,
    gate: { put: 'loading' },
    ending: NONE,
    claimable: ZERO,
    waiting_for: ZERO,
    not_before: 'time?',
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
    claimed_at: 'time?',
    started_at: 'time?',
    finished_at: 'time?',
    not_before: NONE,
    failures: 'count',
    losses: 'count',
    planned_ends: 'count',
    reason: 'word?',
    exit_code: 'integer?',
    progress: { json: 'progress', orNull: true },
    payload: 'json?',
    inputs: { json: 'inputs', orNull: true },
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
    started_at: 'time?',
    ended_at: 'time',
    exit_code: 'integer?',
    signal: 'text?',
    reason: 'word?',
    message: 'text?',
    wall_seconds: 'real?',
    cpu_seconds: 'real?',
    peak_memory: 'count?',
    outputs: { json: 'outputs', orNull: true },
    result: 'json?',
    secret_hash: NONE,
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
    created_at: 'time',
    files: { json: 'outputs' },
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
  ...JOB_RULES,
  documents: {
    project_id: 'project',
    id: 'text',
    revision: 'count',
    rev_hash: 'text',
    task_revision: 'count',
    deleted: ZERO,
    body: { json: 'fields' },
    attachments: { json: 'attachments', orNull: true },
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
