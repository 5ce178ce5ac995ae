/**
 * Extracts the HETATM records of PDB files: what is in a structure besides its chains, such as ligands, ions and water.
 * One task of an array for each file, at the site that `service.yaml` names, else on the workers of the pool.
 */
import {
  createReadStream,
  createWriteStream,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { defineService, Files, pool, script, Type } from 'pilotage/service';

export default defineService({
  name: 'hetatm',
  title: 'HETATM records of PDB files',
  parameters: Type.Object(
    {
      pdb: Files({
        title: 'PDB files',
        description: 'Coordinate files in the PDB format.',
        accept: ['.pdb', '.ent'],
        minItems: 1,
        maxItems: 100,
        maxBytes: 50 * 1024 * 1024,
      }),
      water: Type.Boolean({ default: false, title: 'Keep water', description: 'Also the records of HOH.' }),
    },
    { additionalProperties: false },
  ),
  metadata: Type.Object({ files: Type.Integer(), records: Type.Integer() }),
  results: ['*.het', 'summary.txt', 'problem.txt'],
  log: () => ({ level: 'info' }),

  /** Bad input is no failure of the service: the job ends with a result that explains. */
  preprocess(job) {
    const { pdb } = job.parameters;
    const strange = pdb.filter((name) => !/^(ATOM {2}|HETATM)/m.test(readFileSync(name, 'latin1')));
    if (strange.length > 0) {
      const lines = strange.map(
        (name) => `'${name}' has no ATOM or HETATM records: it is no coordinate file in the PDB format.`,
      );
      writeFileSync('problem.txt', `${lines.join('\n')}\nNothing was extracted.\n`);
      job.logger.warning(`${strange.length} of ${pdb.length} files are no PDB files`);
      return job.skipRun();
    }
    // Under names of our own: whatever people call their files, no shell and no batch system sees it.
    rmSync('entries', { recursive: true, force: true });
    mkdirSync('entries');
    for (const [at, name] of pdb.entries()) linkSync(name, `entries/${at + 1}`);
    job.metadata.files = pdb.length;
    job.logger.info(`${pdb.length} files`);
  },

  run(job, service) {
    const { site, scheduler = 'slurm', options = '--time=10' } = service.config as Partial<Record<string, string>>;
    const array = `1-${job.parameters.pdb.length}`;
    const outputs = ['records.het'];
    if (site === undefined)
      return pool({
        command: ['sh', '-c', extract('entries/{index}', job.parameters.water)],
        array,
        inputs: ['entries'],
        outputs,
      });
    return script({
      site,
      scheduler: scheduler as 'slurm' | 'grid-engine',
      options,
      text: `#!/bin/sh\n${extract(entryOf('PILOTAGE_ARRAY_INDEX'), job.parameters.water)}\n`,
      array,
      inputs: ['entries/{index}'],
      outputs,
    });
  },

  /** The tasks' files came back into a directory for each index: now they get their names. */
  postprocess(job) {
    const counts = job.parameters.pdb.map((name, at) => {
      const result = `${name}.het`;
      renameSync(path.join(String(at + 1), 'records.het'), result);
      rmSync(String(at + 1), { recursive: true });
      return { name, records: readFileSync(result, 'latin1').split('\n').length - 1 };
    });
    job.metadata.records = counts.reduce((sum, { records }) => sum + records, 0);
    writeFileSync(
      'summary.txt',
      counts.map(({ name, records }) => `${String(records).padStart(7)}  ${name}\n`).join(''),
    );
  },

  finalize() {
    rmSync('entries', { recursive: true });
  },

  /** The archive is slow and large: what is in it is compressed. Called again after a crash, it goes on. */
  async archive(job) {
    const plain = readdirSync('.').filter((name) => /\.(pdb|ent|het)$/i.test(name));
    for (const name of plain) {
      await pipeline(createReadStream(name), createGzip({ level: 9 }), createWriteStream(`${name}.gz.part`));
      renameSync(`${name}.gz.part`, `${name}.gz`);
      rmSync(name);
    }
    job.logger.info(`${plain.length} files compressed`);
  },
});

/** grep ends with 1 when nothing is found, which is a result; with 2 when it could not read. */
function extract(file: string, isWater: boolean): string {
  const lines = isWater ? 'cat' : 'awk \'substr($0, 18, 3) != "HOH"\'';
  return `{ grep '^HETATM' ${file} || [ $? -eq 1 ]; } > all && ${lines} < all > records.het`;
}

/** For the shell, where the script runs. */
function entryOf(variable: string): string {
  return `"entries/$${variable}"`;
}
