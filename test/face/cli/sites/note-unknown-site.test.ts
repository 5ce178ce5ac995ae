import { expect, test } from 'vitest';
import type { Invocation } from '../../../../src/face/cli/invocation.ts';
import { findSiteOrNote, noteUnknownSite } from '../../../../src/face/cli/sites/note-unknown-site.ts';
import { temporaryDirectory } from '../../../support/temporary-directory.ts';

function invocationWith(sites?: string) {
  const cwd = temporaryDirectory(sites === undefined ? {} : { 'sites.yaml': sites });
  const said: string[] = [];
  const context = { cwd, env: { HOME: cwd, ...(sites === undefined ? {} : { PILOTAGE_SITES: 'sites.yaml' }) } };
  const invocation = { context, say: async (text: string) => void said.push(text) } as unknown as Invocation;
  return { invocation, said };
}
const HALL = 'sites: [{ name: hall, mechanism: slurm_local }]';

test('a site that is described is found, and nothing is said', async () => {
  const { invocation, said } = invocationWith(HALL);
  expect(await findSiteOrNote(invocation, 'hall', 'no pilot will come')).toMatchObject({ name: 'hall' });
  expect(said).toEqual([]);
});

test('one that nobody described is noted with what comes of it, and the name that was meant', async () => {
  const { invocation, said } = invocationWith(HALL);
  expect(await findSiteOrNote(invocation, 'hal', 'no pilot will come')).toBeUndefined();
  expect(said).toEqual(["note: no site 'hal' is known on this machine (did you mean 'hall'?); no pilot will come"]);
  const nothing = invocationWith();
  await findSiteOrNote(nothing.invocation, 'hal', 'no pilot will come');
  expect(nothing.said[0]).toContain("'pilotage site add'");
});

test('what is done already is not undone by a file of sites that cannot be read', async () => {
  const { invocation, said } = invocationWith('sites: 3');
  await noteUnknownSite(invocation, 'hall', 'no pilot will come');
  expect(said[0]).toMatch(/^note: whether there is a site 'hall' cannot be told: .*sites\.yaml/);
  await expect(findSiteOrNote(invocation, 'hall', '')).rejects.toThrow();
});
