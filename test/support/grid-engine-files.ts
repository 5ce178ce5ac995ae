/** The spool and configuration of a Son of Grid Engine 8.1.9 of one host, as Debian's packages look for it. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { run } from './daemon-engine.ts';

/** Debian's own: its wrappers of the client commands go there without being told. */
export const ROOT = '/var/lib/gridengine';
export const SPOOL = '/var/spool/gridengine';
const COMMON = join(ROOT, 'default/common');
/** Says that the cluster was made by tests. */
export const MARKER = join(SPOOL, '.pilotage-tests');

export function layOutGridEngine(directory: string): void {
  const folders = [
    COMMON,
    ...['', 'qmaster', 'qmaster/job_scripts', 'execd', 'spooldb'].map((name) => join(SPOOL, name)),
  ];
  run('install', ['-d', '-o', 'sgeadmin', '-g', 'sgeadmin', ...folders]);
  // Every name of the host is "localhost" to it: it compares the name of 127.0.0.1 with gethostname() and refuses when
  // they differ.
  const names = [...new Set([hostname(), hostname().split('.')[0]!, ...namesOfLoopback()])];
  const others = names.filter((name) => name !== 'localhost');
  writeFileSync(join(COMMON, 'host_aliases'), `localhost ${others.join(' ')}\n`);
  writeFileSync(join(COMMON, 'act_qmaster'), 'localhost\n');
  run('chown', ['sgeadmin:sgeadmin', join(COMMON, 'host_aliases'), join(COMMON, 'act_qmaster')]);
  const log = run('runuser', [
    ...['-u', 'sgeadmin', '--', '/usr/share/gridengine/scripts/init_cluster'],
    ...[ROOT, 'default', join(SPOOL, 'spooldb'), 'sgeadmin'],
  ]);
  writeFileSync(join(directory, 'init.log'), log);
}

export function removeGridEngine(directory: string): void {
  const ours = [directory, ...['qmaster', 'execd/localhost', 'spooldb'].map((name) => join(SPOOL, name)), MARKER];
  const common = ['act_qmaster', 'host_aliases', 'accounting'].map((name) => join(COMMON, name));
  for (const path of [...ours, ...common]) rmSync(path, { recursive: true, force: true });
}

function namesOfLoopback(): string[] {
  const lines = readFileSync('/etc/hosts', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/));
  return lines.flatMap(([address, ...names]) =>
    address === '127.0.0.1' ? names.filter((name) => /^[\w.-]+$/.test(name)) : [],
  );
}

type Settings = Readonly<Record<string, string>>;

/** The master has to run. It schedules at once instead of every 15 s, sends no mail, and writes accounts at once. */
export function configureGridEngine(directory: string, env: NodeJS.ProcessEnv): void {
  const qconf = (...args: string[]): string => run('qconf', args, { env });
  const given = (name: string, text: string): string => {
    const file = join(directory, name);
    mkdirSync(directory, { recursive: true });
    writeFileSync(file, text);
    return file;
  };
  for (const args of [
    ['-am', 'root'],
    ['-ah', 'localhost'],
    ['-as', 'localhost'],
  ])
    attempt(() => qconf(...args));
  attempt(() => qconf('-Ae', given('host', toText(HOST))));
  qconf('-Ahgrp', given('group', 'group_name @allhosts\nhostlist localhost\n'));
  qconf('-Ap', given('environment', toText(PARALLEL)));
  qconf('-Aq', given('queue', toText({ ...QUEUE, tmpdir: join(directory, 'tmp') })));
  qconf('-Msconf', given('schedule', changed(qconf('-ssconf'), SCHEDULE)));
  qconf('-Mconf', given('global', changed(qconf('-sconf', 'global'), GLOBAL)));
}

/** Adding what is there already is refused. */
function attempt(work: () => void): void {
  try {
    work();
  } catch {
    // It is there.
  }
}

function toText(settings: Settings): string {
  return `${Object.entries(settings)
    .map(([key, value]) => `${key} ${value}`)
    .join('\n')}\n`;
}

function changed(text: string, changes: Settings): string {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const kept = lines.filter((line) => !(line.split(/\s/)[0]! in changes));
  return `${kept.join('\n')}\n${toText(changes)}`;
}

function all(names: string, value: string): Settings {
  return Object.fromEntries(names.split(' ').map((name) => [name, value]));
}

const HOST: Settings = {
  hostname: 'localhost',
  ...all(
    'load_scaling complex_values user_lists xuser_lists projects xprojects usage_scaling report_variables',
    'NONE',
  ),
};

const PARALLEL: Settings = {
  pe_name: 'smp',
  slots: '999',
  ...all('user_lists xuser_lists start_proc_args stop_proc_args', 'NONE'),
  allocation_rule: '$pe_slots',
  control_slaves: 'FALSE',
  job_is_first_task: 'TRUE',
  urgency_slots: 'min',
  accounting_summary: 'FALSE',
  qsort_args: 'NONE',
};

const QUEUE: Settings = {
  qname: 'all.q',
  hostlist: '@allhosts',
  seq_no: '0',
  nsuspend: '1',
  suspend_interval: '00:05:00',
  priority: '0',
  min_cpu_interval: '00:05:00',
  processors: 'UNDEFINED',
  qtype: 'BATCH INTERACTIVE',
  pe_list: 'smp',
  rerun: 'FALSE',
  slots: '4',
  shell: '/bin/sh',
  shell_start_mode: 'unix_behavior',
  notify: '00:00:05',
  initial_state: 'default',
  ...all(
    'load_thresholds suspend_thresholds ckpt_list prolog epilog starter_method suspend_method resume_method',
    'NONE',
  ),
  ...all(
    'terminate_method owner_list user_lists xuser_lists subordinate_list complex_values projects xprojects calendar',
    'NONE',
  ),
  ...all(
    's_rt h_rt s_cpu h_cpu s_fsize h_fsize s_data h_data s_stack h_stack s_core h_core s_rss h_rss s_vmem h_vmem',
    'INFINITY',
  ),
};

const SCHEDULE: Settings = {
  schedule_interval: '0:0:1',
  flush_submit_sec: '1',
  flush_finish_sec: '1',
  schedd_job_info: 'true',
};

const GLOBAL: Settings = {
  load_report_time: '00:00:05',
  reporting_params:
    'accounting=true reporting=false flush_time=00:00:01 joblog=false sharelog=00:00:00 accounting_flush_time=00:00:00',
  mailer: '/bin/true',
  min_uid: '100',
  gid_range: '20000-20999',
  shell_start_mode: 'unix_behavior',
};
