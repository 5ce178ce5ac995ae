import { mkdtempSync } from 'node:fs';
import path from 'node:path';
import type { Client } from '../../src/ground/client/client.ts';
import { uploadPaths } from '../../src/ground/client/upload.ts';
import type { JobDetail, JobView } from '../../src/ground/protocol/job.ts';
import { routes } from '../../src/ground/protocol/routes.ts';
import { type SiteConfig, toSite } from '../../src/ground/protocol/site.ts';
import type { TaskSpec } from '../../src/ground/protocol/spec.ts';
import { type Agent, type AgentOptions, startAgent } from '../../src/worker/agent/agent.ts';
import { memoryLog } from './memory-log.ts';
import { waitUntil } from './wait-until.ts';

/** Sends jobs to sites for a test, in this process. */
export interface TestAgent {
  readonly agent: Agent;
  readonly log: ReturnType<typeof memoryLog>;
  stop(): Promise<void>;
}

export interface TestAgentOptions extends Partial<AgentOptions> {
  readonly client: Client;
  readonly serverUrl: string;
  readonly configs: readonly SiteConfig[];
  /** Of an agent before. */
  readonly directory: string;
}

export async function startTestAgent({ configs, ...options }: TestAgentOptions): Promise<TestAgent> {
  const log = memoryLog();
  const agent = await startAgent({
    log,
    version: 'test',
    sites: configs.map((config) => toSite(config)),
    // Sockets have short names.
    controlDirectory: mkdtempSync('/tmp/pa-'),
    environment: process.env,
    ask: async () => undefined,
    pollSeconds: 2,
    ...options,
  });
  return {
    agent,
    log,
    stop: async () => {
      agent.stop();
      await agent.done;
    },
  };
}

/** What a job is to be, in short. */
export interface TestJob {
  readonly site: string;
  readonly command: readonly string[];
  readonly inputs?: readonly { readonly name: string; readonly file: string }[];
  readonly spec?: Partial<TaskSpec>;
  readonly projectDirectory?: string;
}

/** A user of the API with jobs. */
export function jobClient(client: Client, project = 'default') {
  const get = (number: string): Promise<JobDetail> =>
    client.call(routes.job, { params: { project, number } }) as Promise<JobDetail>;
  return {
    get,
    async run({ site, command, inputs = [], spec, projectDirectory }: TestJob): Promise<JobView> {
      const uploaded = await uploadPaths(
        { client, project },
        inputs.map(({ file }) => file),
      );
      return client.call(routes.createJob, {
        params: { project },
        body: {
          spec: {
            command: [...command],
            inputs: uploaded.map((file, at) => ({ ...file, name: inputs[at]?.name ?? path.basename('') })),
            ...spec,
            site: { name: site, ...(projectDirectory === undefined ? {} : { projectDirectory }), ...spec?.site },
          },
        },
      });
    },
    ended: (number: string, seconds = 60): Promise<JobDetail> =>
      waitUntil(
        `job ${number} to end`,
        async () => {
          const job = await get(number);
          return ['COMPLETED', 'FAILED', 'CANCELLED'].includes(job.state) ? job : undefined;
        },
        seconds,
      ) as Promise<JobDetail>,
    until: (number: string, what: string, is: (job: JobDetail) => boolean, seconds = 60): Promise<JobDetail> =>
      waitUntil(
        `job ${number}: ${what}`,
        async () => {
          const job = await get(number);
          return is(job) ? job : undefined;
        },
        seconds,
      ) as Promise<JobDetail>,
  };
}
