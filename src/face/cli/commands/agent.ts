import path from 'node:path';
import type { Command } from 'commander';
import { messageOf, PilotageError } from '../../../ground/base/errors.ts';
import type { Site } from '../../../ground/protocol/site.ts';
import { askLogin } from '../ask-login.ts';
import type { AgentOptions, AgentPlace, OpenLoginQuestion } from '../context.ts';
import type { Define } from '../define.ts';
import { defined } from '../defined.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { SEVERAL } from '../option-sources.ts';
import { collectList } from '../option-values.ts';
import { placeOfAgent } from '../sites/agent-place.ts';
import { answerQuestions } from '../sites/answer-questions.ts';
import { sayWhatAgentMisses } from '../sites/changed-since.ts';
import { useTable } from '../sites/describe-site.ts';
import { loadSites, resolveSite } from '../sites/load-sites.ts';
import { sitesFiles } from '../sites/site-files.ts';
import { type Column, formatTable } from '../table.ts';

interface InDirectory {
  readonly directory?: string;
}

interface Options extends InDirectory {
  readonly sites?: string;
  readonly project?: readonly string[];
  readonly acceptHostKey?: readonly string[];
}

const DIRECTORY = 'where it keeps what it has in hand; ~/.local/share/pilotage/agent unless given';

export function agentCommand(define: Define): Command {
  const login = define('login', 'Answer what its logins ask for: passwords, passphrases, codes, host keys', answer);
  const status = define('status', 'Show which questions are open, and how each machine is used', showStatus);
  return define('agent', 'Run the agent that sends jobs to sites, as the user who may log in there', run)
    .option('--sites <file>', 'the file with the sites, in place of the usual ones (PILOTAGE_SITES)')
    .option('--directory <dir>', DIRECTORY)
    .option('-p, --project <name>', `only jobs of this project ${SEVERAL}`, collectList)
    .option('--accept-host-key <fingerprint>', `take a host key that is not known and has it ${SEVERAL}`, collectList)
    .addCommand(login.option('--directory <dir>', DIRECTORY))
    .addCommand(status.option('--directory <dir>', DIRECTORY));
}

async function run(invocation: Invocation, options: Options): Promise<number> {
  const { context } = invocation;
  const { sites, sitesFile } = await usableSites(invocation, options.sites);
  const { url, tokenFile, fingerprint } = invocation.address();
  return context.agent({
    version: context.version,
    server: url,
    tokenFile: path.resolve(context.cwd, tokenFile),
    sites,
    sitesFile,
    directory: placeOf(invocation, options).directory,
    verbosity: 1 + (invocation.options.verbose ?? 0),
    ...defined({
      fingerprint,
      projects: options.project,
      acceptHostKeys: options.acceptHostKey,
      terminal: askLogin(context),
    }),
  });
}

/** What is wrong with one site costs the others nothing. */
async function usableSites(
  { context, say }: Invocation,
  named: string | undefined,
): Promise<Pick<AgentOptions, 'sites' | 'sitesFile'>> {
  const loaded = loadSites(context, named);
  const sites: Site[] = [];
  for (const config of loaded?.configs ?? []) {
    try {
      if (loaded) sites.push(resolveSite(loaded, config).site);
    } catch (error) {
      if (!(error instanceof PilotageError)) throw error;
      await say(`the site '${config.name}' is left out: ${messageOf(error)}`);
    }
  }
  if (loaded && sites.length > 0) return { sites, sitesFile: loaded.file };
  const file = loaded?.file ?? sitesFiles(context, named).user;
  throw new PilotageError(
    'bad-request',
    `no site that can be used is described in '${file}': make one with 'pilotage site add NAME --mechanism ssh --machine HOST'`,
  );
}

async function answer(invocation: Invocation, options: InDirectory): Promise<number> {
  const place = placeOf(invocation, options);
  if (!invocation.json) return answerQuestions(invocation, place);
  await invocation.printList(await invocation.context.askAgent.questions(place), () => '');
  return EXIT.done;
}

async function showStatus(invocation: Invocation, options: InDirectory): Promise<number> {
  const place = placeOf(invocation, options);
  const { askAgent } = invocation.context;
  const [questions, use] = await Promise.all([askAgent.questions(place), askAgent.use(place)]);
  await invocation.print({ questions, use }, () => {
    const asked =
      questions.length === 0
        ? 'no login waits for anybody\n'
        : `${formatTable(QUESTIONS, questions)}answer with 'pilotage agent login'\n`;
    return `${asked}\n${use.length === 0 ? 'no machine has been used yet\n' : useTable(use)}`;
  });
  await sayWhatAgentMisses(invocation, options.directory);
  return EXIT.done;
}

const QUESTIONS: Column<OpenLoginQuestion>[] = [
  { title: 'MACHINE', of: ({ machine, user }) => (user === undefined ? machine : `${user}@${machine}`) },
  { title: 'NEEDS', of: ({ kind }) => kind },
  { title: '', of: ({ wasRefused }) => (wasRefused ? 'the last one was refused' : '') },
  { title: 'PROMPT', of: ({ prompt, fingerprint }) => fingerprint ?? prompt },
];

function placeOf(invocation: Invocation, { directory }: InDirectory): AgentPlace {
  return placeOfAgent(invocation, directory);
}
