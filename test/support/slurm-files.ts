/** The directories and configuration of a Slurm 22.05 of one node on loopback, without systemd and cgroups. */
import { randomBytes } from 'node:crypto';
import { chmodSync, lstatSync, mkdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { run, succeeds } from './daemon-engine.ts';

export interface SlurmPlace {
  readonly directory: string;
  readonly controllerPort: number;
  readonly nodePort: number;
  /** How long it remembers what ended. */
  readonly minJobAgeSeconds: number;
}

/** Where every client looks: it leads to the shared cluster, unless the machine has a Slurm of its own. */
export const LINK = '/etc/slurm/slurm.conf';

export function layOutSlurm(place: SlurmPlace, isShared: boolean): void {
  const { directory } = place;
  const path = (name: string): string => join(directory, name);
  for (const name of ['munge', 'controller', 'slurmd', 'log']) mkdirSync(path(name), { recursive: true, mode: 0o755 });
  // munged is strict about its key and about who may write above it.
  writeFileSync(path('munge/munge.key'), randomBytes(128), { mode: 0o400 });
  run('chown', ['-R', 'munge:munge', path('munge')]);
  run('chown', ['slurm:slurm', path('controller'), path('log')]);
  chmodSync(path('controller'), 0o700);
  writeFileSync(path('slurm.conf'), configuration(place));
  // 22.05 reads it beside slurm.conf even when no cgroup plug-in is named.
  writeFileSync(path('cgroup.conf'), 'CgroupAutomount=no\nConstrainCores=no\nConstrainRAMSpace=no\n');
  if (isShared && isOurs()) {
    mkdirSync('/etc/slurm', { recursive: true });
    rmSync(LINK, { force: true });
    symlinkSync(path('slurm.conf'), LINK);
  }
}

export function unlinkSlurm(): void {
  if (isOurs()) rmSync(LINK, { force: true });
}

/** An administrator's own file is left alone. */
function isOurs(): boolean {
  const found = lstatSync(LINK, { throwIfNoEntry: false });
  return found === undefined || (found.isSymbolicLink() && readlinkSync(LINK).endsWith('/slurm.conf'));
}

/** Slurm 22.05 resolves every name with AI_ADDRCONFIG: with loopback alone not even 127.0.0.1 is found. */
export function needInterface(): void {
  if (succeeds('getent', ['ahostsv4', 'localhost'])) return;
  run('sh', [
    '-ec',
    `ip link add pilotage-a type veth peer name pilotage-b
     ip address add 10.213.77.1/30 dev pilotage-a
     ip link set pilotage-a up
     ip link set pilotage-b up`,
  ]);
}

/**
 * Jobs are ended 2 s after TERM, and memory is looked at every 2 s. Only `NoCtldInAddrAny` and `NoInAddrAny` keep the
 * daemons on loopback. The node's name is always node1, whatever the machine is called.
 */
function configuration({ directory, controllerPort, nodePort, minJobAgeSeconds }: SlurmPlace): string {
  const host = hostname().split('.')[0];
  return `ClusterName=pilotage
SlurmctldHost=${host}(127.0.0.1)
SlurmctldPort=${controllerPort}
SlurmdPort=${nodePort}
SlurmUser=slurm
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=${directory}/munge/munge.sock
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation=${directory}/controller
SlurmdSpoolDir=${directory}/slurmd
SlurmctldPidFile=${directory}/controller/slurmctld.pid
SlurmdPidFile=${directory}/slurmd/slurmd.pid
SlurmctldLogFile=${directory}/log/slurmctld.log
SlurmdLogFile=${directory}/log/slurmd.log
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2,sched_min_interval=0
PriorityType=priority/basic
DefMemPerCPU=100
MaxJobCount=20000
MinJobAge=${minJobAgeSeconds}
KillWait=2
CompleteWait=0
InactiveLimit=0
ReturnToService=2
SlurmdParameters=config_overrides
NodeName=node1 NodeHostname=${host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=node1 Default=YES MaxTime=1-00:00:00 DefaultTime=01:00:00 State=UP
PartitionName=short Nodes=node1 Default=NO MaxTime=00:05:00 State=UP
`;
}
