import type { Report } from '../../ground/protocol/exchange.ts';
import type { ProgramEnd } from './program.ts';

/** What a program's end means for its attempt, before anybody looked at its outputs. */
export type Judged = Pick<
  Report,
  'outcome' | 'reason' | 'message' | 'exitCode' | 'signal' | 'startedAt' | 'wallSeconds'
>;

/** `cut`: the claimant had asked for the end. A limit that was broken before has the first word. */
export function judgeEnd(end: ProgramEnd & { is: 'ended' }, cut: 'dropped' | 'stopped' | undefined): Judged {
  const { exitCode, signal, wallMs } = end.how;
  const facts = {
    ...(exitCode === null ? {} : { exitCode }),
    ...(signal === null ? {} : { signal }),
    startedAt: new Date(Date.now() - wallMs).toISOString(),
    wallSeconds: Math.round(wallMs * 1000) / 1e6,
  };
  if (end.limit) return { outcome: 'failed', ...end.limit, ...facts };
  if (cut) return { outcome: 'ended', message: 'the worker ended as planned', ...facts };
  if (signal !== null) return { outcome: 'failed', reason: 'signal', message: signalMessage(signal), ...facts };
  if (exitCode !== 0)
    return {
      outcome: 'failed',
      reason: 'exit-code',
      message: `the program ended with exit code ${exitCode}`,
      ...facts,
    };
  return { outcome: 'succeeded', ...facts };
}

function signalMessage(signal: string): string {
  if (signal !== 'SIGKILL') return `the program was ended by the signal ${signal}`;
  return 'the program was killed (SIGKILL), not by Pilotage: perhaps the machine ran out of memory, or somebody ended it by hand';
}
