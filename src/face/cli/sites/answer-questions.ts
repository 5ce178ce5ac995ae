import { setTimeout as pause } from 'node:timers/promises';
import { PilotageError } from '../../../ground/base/errors.ts';
import { askLogin } from '../ask-login.ts';
import type { AgentPlace, AskPerson, OpenLoginQuestion } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';

/** After a password a code may be asked for, and a server takes its time to say that a password was wrong. */
const QUIET_MS = 5000;
const LOOK_MS = 200;

/** Asks the person at the terminal what the agent's logins ask, until nothing more is asked. */
export async function answerQuestions(invocation: Invocation, place: AgentPlace): Promise<number> {
  const { askAgent } = invocation.context;
  let open = await askAgent.questions(place);
  if (open.length === 0) {
    await invocation.say('no login waits for anybody');
    return EXIT.done;
  }
  const ask = askLogin(invocation.context);
  if (!ask)
    throw new PilotageError(
      'bad-request',
      `there is no terminal to ask at, and ${machinesOf(open)} must be logged in to: run 'pilotage agent login' in a terminal`,
    );
  const leaving = new AbortController();
  const stop = invocation.context.onInterrupt(() => leaving.abort());
  try {
    while (open.length > 0) {
      for (const question of open)
        if (!(await answerOne(invocation, place, { question, ask, leaving }))) return EXIT.failed;
      open = await untilMore(() => askAgent.questions(place), leaving.signal);
    }
    await invocation.say('nothing more is asked: the jobs go on');
    return EXIT.done;
  } finally {
    stop();
  }
}

/** False: the person gave no answer. */
async function answerOne(
  invocation: Invocation,
  place: AgentPlace,
  { question, ask, leaving }: { question: OpenLoginQuestion; ask: AskPerson; leaving: AbortController },
): Promise<boolean> {
  const said = await ask(question, leaving.signal);
  if (said === undefined) {
    await invocation.say(`no answer: ${question.machine} waits until there is one`);
    return false;
  }
  if (!(await invocation.context.askAgent.answer(place, question.id, said)))
    await invocation.say(`nobody waits for that any more (${question.machine})`);
  return true;
}

async function untilMore(
  look: () => Promise<readonly OpenLoginQuestion[]>,
  signal: AbortSignal,
): Promise<readonly OpenLoginQuestion[]> {
  const deadline = performance.now() + QUIET_MS;
  for (;;) {
    const open = await look();
    if (open.length > 0 || signal.aborted || performance.now() > deadline) return open;
    await pause(LOOK_MS, undefined, { signal }).catch(() => {});
  }
}

function machinesOf(open: readonly OpenLoginQuestion[]): string {
  return [...new Set(open.map(({ machine }) => machine))].join(', ');
}
