import type { Command } from 'commander';
import type { Define } from '../define.ts';
import type { Invocation } from '../invocation.ts';
import { SEVERAL } from '../option-sources.ts';
import { collect } from '../option-values.ts';
import { collectKeys, withSiteFlags } from '../sites/site-flags.ts';
import type { TestOptions } from '../sites/test-site.ts';

interface InFile {
  readonly sites?: string;
}

const FOR = "whose file is written: 'user' or 'installation'";

export function siteCommand(define: Define): Command {
  const list = define('list', 'List the sites, and say which file they are in', listSites);
  const show = define('show', 'Show all about a site, and how the agent uses it', showSite).argument(
    '<name>',
    'the site',
  );
  const add = define('add', 'Describe a new site', addSite).argument('<name>', 'what it is to be called');
  const edit = define('edit', 'Change a site', editSite).argument('<name>', 'the site');
  const remove = define('remove', 'Take a site out of its file', removeSite).argument('<name>', 'the site');
  const adopt = define('adopt', "Take over the installation's sites into your own file", adoptSites);
  const test = define('test', 'Look whether the machines of a site are fit for jobs', testMachines).argument(
    '<name>',
    'the site',
  );
  const parts = [
    whichFile(list),
    whichFile(show),
    withSiteFlags(add).option('--for <whose>', `${FOR}; yours unless given`),
    withSiteFlags(edit)
      .option('--rename <name>', 'call it so')
      .option('--unset <key>', `take this key away, as in queueOptions ${SEVERAL}`, collectKeys)
      .option('--for <whose>', `${FOR}; the one that counts unless given`),
    remove
      .option('--last', 'also if it is the only one')
      .option('--for <whose>', `${FOR}; the one that counts unless given`),
    adopt.option('--for <whose>', `${FOR}, from the other one; yours unless given`),
    test
      .option('--machine <host>', `only this machine ${SEVERAL}`, collect)
      .option('--user <name>', 'log in as this user')
      .option('--accept-host-key <fingerprint>', `take a host key that is not known and has it ${SEVERAL}`, collect),
  ];
  const site = define('site', 'List, describe and test the sites to which jobs can be sent', listSites);
  site.option('--sites <file>', 'the file with the sites, in place of the usual ones (PILOTAGE_SITES)');
  return parts.reduce((all, part) => all.addCommand(part), site);
}

function whichFile(command: Command): Command {
  return command
    .option('--user', 'your file, also where it does not count')
    .option('--installation', "the installation's file, also where it does not count");
}

async function listSites(invocation: Invocation, options: InFile): Promise<number> {
  return (await import('../sites/show-sites.ts')).listSites(invocation, options);
}

async function showSite(invocation: Invocation, options: InFile, name: string): Promise<number> {
  return (await import('../sites/show-sites.ts')).showSite(invocation, options, name);
}

async function addSite(invocation: Invocation, options: InFile, name: string): Promise<number> {
  return (await import('../sites/change-sites.ts')).add(invocation, options, name);
}

async function editSite(invocation: Invocation, options: InFile, name: string): Promise<number> {
  return (await import('../sites/change-sites.ts')).edit(invocation, options, name);
}

async function removeSite(invocation: Invocation, options: InFile, name: string): Promise<number> {
  return (await import('../sites/change-sites.ts')).remove(invocation, options, name);
}

async function adoptSites(invocation: Invocation, options: InFile): Promise<number> {
  return (await import('../sites/change-sites.ts')).adopt(invocation, options);
}

async function testMachines(invocation: Invocation, options: InFile & TestOptions, name: string): Promise<number> {
  const { getSite } = await import('../sites/show-sites.ts');
  const { testSite } = await import('../sites/test-site.ts');
  return testSite(invocation, getSite(invocation, options, name).site, options);
}
