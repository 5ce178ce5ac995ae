import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import type { S3Options } from '../../src/server/blobs/s3-blobs.ts';
import { missing, type Needed } from './debian.ts';
import { freePort } from './free-port.ts';
import { waitUntil } from './wait-until.ts';

/** S3Proxy, a server that speaks S3 before a directory; Maven brings it. */
const JAR = 's3proxy-3.0.0-jar-with-dependencies.jar';
const ARTIFACT = 'org.gaul:s3proxy:3.0.0:jar:jar-with-dependencies';
const SHA256 = 'f5931bd2a7706e75bd15713224c98ddda22ac022a48d4f9937ce884acef9ce25';
const PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy';
/** Kept from one run to the next. */
const TOOLS = join(tmpdir(), 'pilotage-test-tools');

const JAVA: Needed = { program: '/usr/bin/java', packages: ['default-jre-headless'] };
const MAVEN: Needed = { program: '/usr/bin/mvn', packages: ['maven'] };

export interface TestS3 {
  /** A bucket of its own. */
  newBucket(): Promise<{ bucket: string; options: S3Options }>;
  stop(): Promise<void>;
}

/** Says why there can be no S3 server here, or undefined. Fetches what is missing where that is possible; under CI what is still missing is a failure. */
export function missingS3(): string | undefined {
  const lacking = missing(JAVA) ?? (isThere() ? undefined : (missing(MAVEN) ?? fetchJar()));
  if (lacking !== undefined && process.env.CI) throw new Error(lacking);
  return lacking;
}

function isThere(): boolean {
  const file = join(TOOLS, JAR);
  return existsSync(file) && createHash('sha256').update(readFileSync(file)).digest('hex') === SHA256;
}

function fetchJar(): string | undefined {
  mkdirSync(TOOLS, { recursive: true });
  const arriving = mkdtempSync(join(TOOLS, 'arriving-'));
  try {
    execFileSync(MAVEN.program, ['-q', '-B', PLUGIN, `-Dartifact=${ARTIFACT}`, `-DoutputDirectory=${arriving}`], {
      stdio: ['ignore', 'ignore', 'pipe'],
      cwd: arriving,
    });
    renameSync(join(arriving, JAR), join(TOOLS, JAR));
    return isThere() ? undefined : `${ARTIFACT} is not the file that was expected`;
  } catch (error) {
    return `${ARTIFACT} cannot be fetched: ${String((error as { stderr?: Buffer }).stderr ?? error).slice(-400)}`;
  } finally {
    rmSync(arriving, { recursive: true, force: true });
  }
}

export async function startS3(): Promise<TestS3> {
  const directory = mkdtempSync(join(tmpdir(), 'pilotage-s3-'));
  mkdirSync(join(directory, 'objects'));
  const endpoint = `http://127.0.0.1:${await freePort()}`;
  const options = {
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    accessKeyId: 'pilotage',
    secretAccessKey: 'only-for-tests',
    spoolDirectory: join(directory, 'spool'),
  };
  const settings = {
    's3proxy.endpoint': endpoint,
    's3proxy.authorization': 'aws-v2-or-v4',
    's3proxy.identity': options.accessKeyId,
    's3proxy.credential': options.secretAccessKey,
    'jclouds.provider': 'filesystem-nio2',
    'jclouds.filesystem.basedir': join(directory, 'objects'),
  };
  const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}\n`);
  writeFileSync(join(directory, 'settings'), lines.join(''));
  const jar = join(TOOLS, JAR);
  const server = spawn(JAVA.program, ['-Xmx256m', '-jar', jar, '--properties', join(directory, 'settings')], {
    stdio: 'ignore',
  });
  const over = new Promise<void>((resolve) => server.once('exit', () => resolve()));
  await waitUntil('the S3 server to answer', () =>
    fetch(endpoint).then(
      () => true,
      () => false,
    ),
  );
  const { accessKeyId, secretAccessKey } = options;
  const client = new S3Client({ ...options, credentials: { accessKeyId, secretAccessKey } });
  let made = 0;
  return {
    async newBucket() {
      made += 1;
      const bucket = `bucket-${made}`;
      await client.send(new CreateBucketCommand({ Bucket: bucket }));
      return { bucket, options: { ...options, spoolDirectory: join(options.spoolDirectory, bucket) } };
    },
    async stop() {
      client.destroy();
      server.kill('SIGKILL');
      await over;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
