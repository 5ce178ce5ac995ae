/** Sites of every combination of transport, scheduler and staging, on real engines, as a user who is not root. */

import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import type { SchedulerKind, SiteConfig, StagingKind, TransportKind } from '../../src/ground/protocol/site.ts';
import { missingGridEngine, startGridEngine } from './grid-engine.ts';
import { missingSlurm, startSlurm } from './slurm.ts';
import { clientConfig } from './ssh-config.ts';
import { missingSshd, type SshServer, startSshServer } from './ssh-server.ts';

export interface Place {
  readonly config: SiteConfig;
  /** A directory that is there under the same name, and the user's own: for files that are shared. */
  readonly shared: string;
  /** Where jobs put their files, as seen from here. */
  readonly jobs: string;
  readonly server?: SshServer;
  /** For jobs on this machine: who runs them. */
  readonly user: string;
}

export interface Places {
  place(transport: TransportKind, scheduler: SchedulerKind, staging: StagingKind): Promise<Place>;
  close(): Promise<void>;
}

export const SITE_USER = 'pilotage-site';

/** Why there are no such places here, or undefined. */
export function missingPlaces(scheduler?: SchedulerKind): string | undefined {
  if (scheduler === 'slurm') return missingSshd() ?? missingSlurm();
  if (scheduler === 'grid-engine') return missingSshd() ?? missingGridEngine();
  return missingSshd();
}

export async function openPlaces(): Promise<Places> {
  const root = mkdtempSync('/var/tmp/pilotage-places-');
  chmodSync(root, 0o755);
  let server: Promise<SshServer> | undefined;
  const own = (name: string): string => {
    const directory = path.join(root, name);
    mkdirSync(directory, { recursive: true });
    const { uid, gid } = idsOf(SITE_USER);
    chownSync(directory, uid, gid);
    return directory;
  };
  return {
    async place(transport, scheduler, staging) {
      server ??= startSshServer();
      const sshd = await server;
      if (scheduler === 'slurm') await startSlurm();
      if (scheduler === 'grid-engine') await startGridEngine();
      const name = `${transport}-${scheduler}-${staging}`;
      // A batch system's nodes see the cluster's own disk; a machine reached by ssh alone has one of its own.
      const isAlone = transport === 'ssh' && scheduler === 'process';
      const jobs = isAlone ? sshd.seen('/tmp') : own(`jobs-${name}`);
      const client = path.join(root, `client-${name}`);
      return {
        config: {
          name,
          transport,
          scheduler,
          staging,
          temporaryDirectory: isAlone ? '/tmp' : jobs,
          ...(transport === 'ssh' ? { machines: ['site'], sshConfig: clientConfig(sshd, client), timeout: 5 } : {}),
        },
        shared: own(`shared-${name}`),
        jobs,
        user: SITE_USER,
        ...(transport === 'ssh' ? { server: sshd } : {}),
      };
    },
    async close() {
      await (await server)?.stop();
      rmSync(root, { recursive: true, force: true });
    },
  };
}

function idsOf(user: string): { uid: number; gid: number } {
  const home = execFileSync('id', ['-u', user], { encoding: 'utf8' });
  const group = execFileSync('id', ['-g', user], { encoding: 'utf8' });
  return { uid: Number(home), gid: Number(group) };
}

export function ownerOf(file: string): number {
  return statSync(file).uid;
}
