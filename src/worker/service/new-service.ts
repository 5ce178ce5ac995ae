import { mkdir, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { PilotageError } from '../../ground/base/errors.ts';
import { CONFIG_FILE } from './read-config.ts';

/** Writes a service that works: a module, its file, and where inputs are put. Returns the files. */
export async function newService(directory: string, name: string): Promise<string[]> {
  if (!/^[a-z][a-z0-9-]{0,39}$/.test(name))
    throw new PilotageError(
      'bad-request',
      `'${name}' cannot be the name of a service: lower-case letters, digits and '-' make one, 40 at most, a letter first`,
    );
  const there = await readdir(directory).catch(() => []);
  if (there.length > 0)
    throw new PilotageError('already-exists', `'${directory}' is there and not empty: nothing was written`);
  await mkdir(path.join(directory, 'incoming'), { recursive: true });
  const files = { 'service.ts': moduleText(name), [CONFIG_FILE]: CONFIG };
  for (const [file, text] of Object.entries(files)) await writeFile(path.join(directory, file), text, { flag: 'wx' });
  return Object.keys(files).map((file) => path.join(directory, file));
}

function moduleText(name: string): string {
  return `import { readFile, writeFile } from 'node:fs/promises';
import { defineService, pool, Type } from 'pilotage/service';

/** Each hook runs in the job's directory. One that throws fails the job: bad input should end with a result that explains. */
export default defineService({
  name: '${name}',
  title: 'Counts words',

  // What a job takes. The types of job.parameters come from here.
  parameters: Type.Object({
    text: Type.String({ title: 'Text', minLength: 1, maxLength: 100_000 }),
  }),

  // From which level on lines go to the job's log; 'warning' unless given.
  log: () => ({ level: 'info' }),

  // What is kept of a job for good.
  metadata: Type.Object({ words: Type.Integer() }),

  async preprocess(job) {
    await writeFile('input.txt', job.parameters.text);
  },

  run() {
    return pool({ command: ['sh', '-c', 'wc -w < input.txt > words.txt'], outputs: ['words.txt'] });
  },

  async postprocess(job) {
    job.metadata.words = Number(await readFile('words.txt', 'utf8'));
    job.logger.info(\`\${job.metadata.words} words\`);
  },
});
`;
}

const CONFIG = `# Where the jobs of each state are; a state that is not named has the directory of the one before it.
directories:
  incoming: incoming
  preprocessing: jobs
  # running: /shared/jobs
  # archived: /archive/jobs

limits:
  running: 5          # jobs on their way through RUNNING
  hookTime: 5m        # a hook that takes longer has hung
  hookMemory: 1GiB

# Both count from the end of a job.
retention:
  archive: 30d
  expire: 90d

# Keys of your own: hooks find them in service.config.
config: {}
`;
