import type { Dialect } from './db.ts';

/**
 * Forward-only, numbered from 1. The text is SQL of both dialects but for three words: `$ID` (a number given by the
 * database), `$CLUSTERED` (SQLite keeps the rows of that table in its primary key) and `$CPUS` (of a shape's key).
 */
const MIGRATIONS: readonly string[] = [
  `
create table meta (key text primary key, value text not null);

create table servers (
  id text primary key, host text not null, pid bigint not null, started_at bigint not null, alive_at bigint not null
);

create table projects (id $ID, name text not null unique, owner text not null, created_at bigint not null);

create table tokens (
  id $ID, name text not null, hash text not null unique, scopes text not null, projects text,
  created_at bigint not null, expires_at bigint, revoked_at bigint
);

create table shapes (id $ID, key text not null unique);

create table queues (
  id $ID, project_id bigint not null, owner text not null, shape_id bigint not null, unique (project_id, owner, shape_id)
);

create table submissions (
  id $ID,
  project_id bigint not null,
  queue_id bigint not null,
  owner text not null,
  name text,
  request_id text,
  step bigint not null,
  created_at bigint not null,
  priority bigint not null,
  tasks bigint not null,
  gate text not null check (gate in ('loading', 'waiting', 'open')),
  ending text check (ending in ('failed', 'cancelled')),
  claimable bigint not null default 0,
  waiting_for bigint not null default 0,
  not_before bigint,
  waiting_since bigint not null,
  has_dependents bigint not null default 0,
  spec text not null,
  unique (request_id, step)
);
create index submissions_claimable on submissions (queue_id, priority desc, id) where claimable = 1;
create index submissions_project on submissions (project_id, id);
create index submissions_gate on submissions (gate, id) where gate <> 'open';
create index submissions_ending on submissions (id) where ending is not null;

create table dependencies (
  submission_id bigint not null, on_submission bigint not null, on_idx bigint not null default -1, done bigint not null default 0,
  primary key (on_submission, submission_id, on_idx)
) $CLUSTERED;
create index dependencies_of on dependencies (submission_id);

create table tasks (
  submission_id bigint not null,
  idx bigint not null,
  state text not null check (state in ('waiting', 'queued', 'running', 'succeeded', 'failed', 'cancelled')),
  attempt bigint not null default 0,
  attempt_state text not null default 'reported' check (attempt_state in ('open', 'reported', 'closed')),
  session_id text,
  exchange_number bigint,
  secret_hash text,
  claimed_at bigint,
  started_at bigint,
  finished_at bigint,
  not_before bigint,
  failures bigint not null default 0,
  losses bigint not null default 0,
  planned_ends bigint not null default 0,
  reason text,
  exit_code bigint,
  progress text,
  payload text,
  inputs text,
  document text,
  revision bigint not null default 1,
  sequence bigint not null,
  primary key (submission_id, idx),
  check (state <> 'running' or session_id is not null),
  check (state <> 'waiting' or not_before is not null),
  check (state <> 'failed' or reason is not null)
) $CLUSTERED;
create index tasks_queued on tasks (submission_id, idx) where state = 'queued';
create index tasks_running on tasks (session_id) where state = 'running';
create index tasks_waiting on tasks (not_before) where state = 'waiting';
create index tasks_unsuccessful on tasks (submission_id, idx) where state in ('failed', 'cancelled');

create table attempts (
  submission_id bigint not null,
  idx bigint not null,
  attempt bigint not null,
  outcome text not null,
  session_id text,
  started_at bigint,
  ended_at bigint not null,
  exit_code bigint,
  signal text,
  reason text,
  message text,
  wall_seconds double precision,
  cpu_seconds double precision,
  peak_memory bigint,
  outputs text,
  result text,
  primary key (submission_id, idx, attempt)
) $CLUSTERED;

create table late_reports (
  id $ID, submission_id bigint not null, idx bigint not null, attempt bigint not null, received_at bigint not null,
  refusal text not null, session_id text, report text not null
);
create index late_reports_task on late_reports (submission_id, idx);

create table logs (
  submission_id bigint not null, idx bigint not null, attempt bigint not null, stream text not null,
  start_offset bigint not null, data text, digest text, size bigint not null,
  primary key (submission_id, idx, attempt, stream)
) $CLUSTERED;

create table workers (
  number $ID,
  session_id text not null unique,
  secret_hash text not null,
  token_id bigint not null,
  name text not null,
  host text not null,
  pid bigint not null,
  zone text,
  version text not null,
  kinds text not null,
  total text not null,
  labels text not null,
  projects text,
  registered_at bigint not null,
  seen_at bigint not null,
  lease_until bigint not null,
  ends_at bigint,
  state text not null check (state in ('alive', 'lost', 'ended')),
  instruction text not null default 'work' check (instruction in ('work', 'drain', 'stop')),
  exchange_number bigint not null default 0,
  attention bigint not null default 0,
  follow_until bigint not null default 0,
  reserved_queue bigint,
  replaces text
);
create index workers_replaces on workers (replaces) where replaces is not null;
create index workers_lease on workers (lease_until) where state = 'alive';

create table state_counts (
  project_id bigint not null, submission_id bigint not null, state text not null, n bigint not null,
  primary key (project_id, submission_id, state)
) $CLUSTERED;
create table count_deltas (id $ID, project_id bigint not null, submission_id bigint not null, state text not null, n bigint not null);

create table blobs (project_id bigint not null, digest text not null, size bigint not null, created_at bigint not null, primary key (project_id, digest)) $CLUSTERED;
`,
  // Files are counted by reference from here on. What an earlier version took in has none on record, and is kept for good.
  `
alter table projects add column quota_bytes bigint;
create table project_usage (project_id bigint primary key, blobs bigint not null, bytes bigint not null);
insert into project_usage (project_id, blobs, bytes) select project_id, count(*), coalesce(sum(size), 0) from blobs group by project_id;

alter table blobs add column held_until bigint not null default 9000000000000000;
alter table blobs add column checkpointed_at bigint not null default 0;
create index blobs_digest on blobs (digest);
create table blob_uses (
  project_id bigint not null, digest text not null, submission_id bigint not null, primary key (project_id, digest, submission_id)
) $CLUSTERED;
create index blob_uses_submission on blob_uses (submission_id);
create table trees (project_id bigint not null, digest text not null, primary key (project_id, digest)) $CLUSTERED;
create table tree_entries (
  project_id bigint not null, parent text not null, child text not null, primary key (project_id, parent, child)
) $CLUSTERED;
create index tree_entries_child on tree_entries (project_id, child);
create table blob_removals (digest text primary key, server_id text not null, since bigint not null);

create table checkpoints (
  submission_id bigint not null, idx bigint not null, attempt bigint not null, number bigint not null,
  created_at bigint not null, files text not null, suspect bigint not null default 0,
  primary key (submission_id, idx, attempt, number)
) $CLUSTERED;
create table checkpoint_blobs (
  project_id bigint not null, digest text not null, submission_id bigint not null, idx bigint not null, attempt bigint not null, number bigint not null,
  primary key (project_id, digest, submission_id, idx, attempt, number)
) $CLUSTERED;
create index checkpoint_blobs_task on checkpoint_blobs (submission_id, idx);

alter table submissions add column extras bigint not null default 0;
alter table submissions add column question text;
alter table submissions add column reused bigint not null default 0;
create index submissions_question on submissions (project_id, question) where question is not null;
alter table tasks add column reused_from text;
alter table tasks add column question text;
create index tasks_question on tasks (question) where question is not null;

alter table servers add column ticket_key text;
alter table workers add column share text;
alter table workers add column left_out_until bigint not null default 0;
create table blob_holders (
  zone text not null, digest text not null, session_id text not null, state text not null check (state in ('fetching', 'complete')),
  parent text, since bigint not null, primary key (zone, digest, session_id)
) $CLUSTERED;
create index blob_holders_session on blob_holders (session_id);
`,
  // `gone`: the bytes were not in the store when somebody wanted them.
  `
alter table blobs add column gone bigint not null default 0;
create index tasks_given_up on tasks (claimed_at) where state = 'queued' and attempt_state = 'open';
`,
  // Jobs at sites. What a worker with `batch_hold` runs is not lost by its silence.
  `
alter table workers add column batch_hold bigint not null default 0;
alter table tasks add column site_state text;
alter table projects add column uid text;
create table jobs (
  id $ID, project_id bigint not null, uid text not null unique, number text not null, parent_id bigint,
  name text, owner text not null, site text, command text, submission_id bigint unique,
  state text check (state in ('INCOMING', 'PREPROCESSING', 'RUNNING', 'POSTPROCESSING', 'FINALIZING', 'COMPLETED', 'ARCHIVED', 'EXPIRED', 'FAILED', 'CANCELLED')),
  reason text, created_at bigint not null, started_at bigint, finished_at bigint,
  unique (project_id, number),
  check (submission_id is not null or state is not null)
);
create index jobs_parent on jobs (parent_id);
create table job_entries (
  job_id bigint not null, uid text not null, number bigint not null, kind text not null check (kind in ('process', 'step', 'file', 'note')),
  body text not null, primary key (job_id, uid)
) $CLUSTERED;
create table late_records (
  job_id bigint not null, digest text not null, received_at bigint not null, record text not null, primary key (job_id, digest)
) $CLUSTERED;
`,
  // Pilots: what is wanted at each site, and the workers that were sent there. A pilot runs as the one task of a submission.
  `
create table pilot_settings (
  site text primary key, most bigint not null, plan text not null, owner text not null, paused bigint not null default 0,
  updated_at bigint not null, wanted bigint not null default 0,
  proven bigint not null default 0, offer text,
  failures bigint not null default 0, cool_until bigint not null default 0, last_reason text, last_failed_at bigint, nodes text not null default '{}'
);
create table pilots (
  submission_id bigint primary key, site text not null, created_at bigint not null, registered_at bigint, unwanted_since bigint,
  ended_at bigint, outcome text check (outcome in ('worked', 'failed', 'cancelled')),
  check ((ended_at is null) = (outcome is null))
) $CLUSTERED;
create index pilots_open on pilots (site) where ended_at is null;
create index pilots_ended on pilots (ended_at) where ended_at is not null;
alter table workers add column pilot bigint;
create index workers_pilot on workers (pilot) where pilot is not null;
`,
  // The CouchDB face. A token is a document and a task: the document keeps what the client wrote, the task its state.
  // `opened`: the number of the change that let all tasks of a submission go. `followed`: what is forgotten leaves a mark.
  `
alter table projects add column security text;
alter table projects add column max_lock_ms bigint;
alter table projects add column max_scrubs bigint;
alter table projects add column followed bigint not null default 0;
alter table submissions add column opened bigint not null default 0;
create index submissions_opened on submissions (project_id, opened) where opened > 0;
create index tasks_sequence on tasks (sequence);
create table documents (
  project_id bigint not null, id text not null, revision bigint not null, rev_hash text not null, task_revision bigint not null default 0,
  deleted bigint not null default 0, body text not null, attachments text,
  submission_id bigint, idx bigint, attempt bigint not null default 0, claims text, lock_until bigint, sequence bigint not null,
  primary key (project_id, id),
  check ((submission_id is null) = (idx is null))
) $CLUSTERED;
create index documents_sequence on documents (project_id, sequence);
create unique index documents_task on documents (submission_id, idx) where submission_id is not null;
create index documents_lock on documents (lock_until) where lock_until is not null;
create table document_blobs (
  project_id bigint not null, digest text not null, document_id text not null, primary key (project_id, digest, document_id)
) $CLUSTERED;
create index document_blobs_document on document_blobs (project_id, document_id);
create table users (
  name text primary key, password_hash text, roles text not null, fields text not null,
  revision bigint not null, rev_hash text not null, created_at bigint not null
) $CLUSTERED;
`,
  // Services and their jobs. `host_number` is the fence: every change of a job's state carries it. `touched` numbers what
  // others than the host did, in the order in which it was committed. `intent`, `target`: the change of state that is under way.
  `
create table services (
  id $ID, project_id bigint not null, name text not null, title text, schema text not null, incoming text,
  archive_ms bigint, expire_ms bigint, created_at bigint not null,
  host_number bigint not null default 0, host_secret text, host text, host_since bigint, host_until bigint not null default 0,
  ended_at bigint, end_reason text, touched bigint not null default 0, nudged bigint not null default 0,
  unique (project_id, name)
);
create table service_jobs (
  job_id bigint primary key, service_id bigint not null, request_id text unique, link_hash text not null, contact text,
  parameters text not null, metadata text not null default '{}', times text not null, ended_at bigint,
  step bigint not null default 0, run bigint not null default 0,
  intent text check (intent in ('INCOMING', 'PREPROCESSING', 'RUNNING', 'POSTPROCESSING', 'FINALIZING', 'COMPLETED', 'ARCHIVED', 'EXPIRED', 'FAILED', 'CANCELLED')),
  wish text check (wish in ('cancel', 'fail', 'resubmit', 'delete', 'archive', 'expire')),
  wish_reason text, waiting bigint not null default 0, settled bigint not null default 1, active bigint not null, touched bigint not null,
  due_at bigint, directory text, target text, data text, runner text, failure text, progress text
) $CLUSTERED;
create index service_jobs_active on service_jobs (service_id, touched) where active = 1;
create index service_jobs_due on service_jobs (service_id, due_at) where due_at is not null;
create index service_jobs_of on service_jobs (service_id, job_id);
create table service_waits (
  on_job bigint not null, job_id bigint not null, done bigint not null default 0, primary key (on_job, job_id)
) $CLUSTERED;
create index service_waits_of on service_waits (job_id);
`,
  // What people bring and fetch through a service's front: files by their digests, and the secret link that shows a job.
  // `installation`: facts that all servers of one database share.
  `
alter table services add column most_waiting bigint;
alter table services add column most_of_owner bigint;
alter table service_jobs add column inputs text;
alter table service_jobs add column results text;
create index service_jobs_link on service_jobs (link_hash);
create index service_jobs_directory on service_jobs (directory);
create table job_blobs (
  project_id bigint not null, digest text not null, job_id bigint not null, kind text not null check (kind in ('input', 'result')),
  primary key (project_id, digest, job_id, kind)
) $CLUSTERED;
create index job_blobs_job on job_blobs (job_id);
create table job_logs (job_id bigint primary key, text text not null) $CLUSTERED;
create table installation (name text primary key, value text not null) $CLUSTERED;
`,
  // What is told about services, written with what it tells of. A letter goes to one address; one about failures takes in
  // notices until it is closed, which is when it is sent first. The server 'server_id' delivers it, until 'lease_until'.
  `
alter table services add column mail_admins text not null default '[]';
alter table services add column mail_users bigint not null default 1;
alter table services add column webhooks text not null default '[]';
alter table services add column told_host bigint not null default 0;
create table letters (
  id $ID, uid text not null unique, service_id bigint not null,
  channel text not null check (channel in ('mail', 'hook')),
  kind text not null check (kind in ('completed', 'failed', 'host-failed', 'event')), address text not null,
  state text not null default 'waiting' check (state in ('waiting', 'sent', 'given-up')),
  created_at bigint not null, due_at bigint not null, delayed_by bigint not null default 0, notices bigint not null default 0,
  closed_at bigint, window_ms bigint, quiet_until bigint,
  tries bigint not null default 0, first_try_at bigint, server_id text, lease_until bigint not null default 0,
  last_error text, ended_at bigint
);
create index letters_due on letters (channel, due_at) where state = 'waiting';
create index letters_open on letters (service_id, state) where state <> 'sent';
create index letters_last on letters (service_id, kind, address, id);
create index letters_ended on letters (ended_at) where ended_at is not null;
create table notices (id $ID, letter_id bigint not null, at bigint not null, facts text not null);
create index notices_of on notices (letter_id, id);
`,
  // Neighbours. A project with a `peer_id` holds tasks borrowed from there: `home` says what it is called at its home, and
  // by which way it came. `borrowed` ties each such task to the attempt of the neighbour's that it carries out; the secrets
  // of these attempts are in `borrowed_secrets`, sealed under a key that is not in the database.
  `
create table peers (
  id text primary key, name text not null unique, certificate text not null,
  state text not null check (state in ('sent', 'received', 'trusted', 'revoked', 'ending')),
  priority bigint not null, places text not null, version text, terms text not null default '{}', their_terms text,
  since bigint not null, seen_at bigint, error text,
  lent_ms bigint not null default 0, borrowed_ms bigint not null default 0,
  session text, session_secret text
) $CLUSTERED;
create table peer_leader (one bigint primary key, server_id text not null, until bigint not null) $CLUSTERED;
alter table projects add column peer_id text;
alter table projects add column home text;
alter table workers add column peer_id text;
create table borrowed (
  submission_id bigint not null, idx bigint not null, peer_id text not null, task text not null, attempt bigint not null,
  facts text not null, taken_at bigint not null,
  primary key (submission_id, idx)
) $CLUSTERED;
create table borrowed_secrets (submission_id bigint primary key, sealed text not null) $CLUSTERED;
create index borrowed_peer on borrowed (peer_id);
`,
  // Backups, exports and imports under way: until then no file goes, and what an import brought is kept out of sight.
  `
create table holds (
  id text primary key, kind text not null check (kind in ('backup', 'export', 'import')), project_id bigint, who text not null,
  since bigint not null, held_until bigint not null
);
`,
  // People. A row of `users` without a role is somebody of the CouchDB face alone. A session is a token of the kind that a
  // login makes. `audit`: who did what; `times`: so often, where failures are counted together.
  `
alter table users add column role text check (role in ('administrator', 'regular'));
alter table tokens add column kind text not null default 'token' check (kind in ('token', 'session', 'admin'));
alter table tokens add column user_name text;
create index tokens_user on tokens (user_name) where user_name is not null;
create table members (
  project_id bigint not null, user_name text not null, granted_by text not null, granted_at bigint not null, primary key (project_id, user_name)
) $CLUSTERED;
create index members_user on members (user_name);
create table audit (
  id $ID, at bigint not null, who text not null, how text not null, address text, action text not null, subject text not null,
  detail text not null, outcome text not null check (outcome in ('done', 'refused')), times bigint not null default 1
);
create index audit_at on audit (at);
create index audit_who on audit (who, id);
`,
  // Fair share and limits, by the name of whose tasks they are. `owner_usage` is folded from `count_deltas`: those of running
  // tasks say of which queue, and when. What runs as this is made counts from the last claim of its owner on.
  `
create table owners (
  name text primary key, weight double precision not null default 1 check (weight > 0), running_limit bigint, storage_limit bigint
) $CLUSTERED;
create table owner_usage (
  owner text primary key, slot_seconds double precision not null, slots bigint not null, tasks bigint not null, at bigint not null
) $CLUSTERED;
alter table projects add column running_limit bigint;
alter table count_deltas add column queue_id bigint;
alter table count_deltas add column at bigint;
insert into owner_usage (owner, slot_seconds, slots, tasks, at)
  select q.owner, 0, sum(case when $CPUS > 1 then $CPUS else 1 end), count(*), max(t.claimed_at)
  from tasks t join submissions s on s.id = t.submission_id join queues q on q.id = s.queue_id join shapes sh on sh.id = q.shape_id
    join projects p on p.id = q.project_id
  where t.state = 'running' and p.peer_id is null and p.name <> 'pilots' group by q.owner;
`,
  // A report that comes late shows the secret of its attempt too. Null: an attempt from before, or one without a secret.
  `
alter table attempts add column secret_hash text;
`,
  // Of an import: when its rows began to come.
  `
alter table holds add column rows_at bigint;
`,
];

const WORDS: Readonly<Record<Dialect, Readonly<Record<string, string>>>> = {
  sqlite: { $ID: 'integer primary key autoincrement', $CLUSTERED: 'without rowid', $CPUS: '(sh.key ->> 1)' },
  postgres: {
    $ID: 'bigint generated by default as identity primary key',
    $CLUSTERED: '',
    $CPUS: '(sh.key::json ->> 1)::bigint',
  },
};

/** The statements that bring a database from `version` to the newest (or to `until`), one text for each version. */
export function migrationsAfter(version: number, dialect: Dialect, until = MIGRATIONS.length): string[] {
  return MIGRATIONS.slice(version, until).map((text) =>
    text.replace(/\$(ID|CLUSTERED|CPUS)/g, (word) => WORDS[dialect][word] ?? ''),
  );
}

export const NEWEST_VERSION = MIGRATIONS.length;
