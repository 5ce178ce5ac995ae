import type { Command } from 'commander';
import { calls } from '../calls.ts';
import type { Define } from '../define.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { printable } from '../table.ts';

export function whyCommand(define: Define): Command {
  return define('why', 'Say why a task (or the first unfinished one of a submission) is in its state', why).argument(
    '<id>',
    'a task or a submission',
  );
}

async function why(invocation: Invocation, _options: object, id: string): Promise<number> {
  const reply = await invocation.client().call(calls.why, { params: { id } });
  await invocation.print(reply, () => {
    const reasons = reply.reasons.map(({ text }, at) => `${String(at + 1).padStart(3)}. ${printable(text)}`);
    return [`${reply.id} is ${reply.state}:`, ...reasons].join('\n');
  });
  return EXIT.done;
}
