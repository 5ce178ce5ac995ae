/** What a task that failed has written last: with it whoever is told of the failure need not go and look. */
import type { Client } from '../../ground/client/client.ts';
import type { LogEvent } from '../../ground/protocol/log.ts';
import { workerCalls } from '../../ground/protocol/worker-calls.ts';

const LINES = 20;
const LINE_LENGTH = 400;
/** Of each stream; what comes before it is passed over as it arrives. */
const KEPT_BYTES = 16_384;
const PATIENCE_MS = 30_000;
const STREAMS = ['stderr', 'stdout'] as const;

/** The last lines on stderr, or on stdout where it was silent; undefined where it wrote nothing, or that cannot be told now. */
export async function endOfOutput(client: Client, id: string, signal: AbortSignal): Promise<string | undefined> {
  for (const stream of STREAMS) {
    const timed = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
    const said = await lastOf(client, { id, stream, signal: timed }).catch((error: unknown) => {
      if (signal.aborted) throw error;
      return undefined;
    });
    if (said !== undefined) return `The end of its ${stream}:\n${said}`;
  }
  return undefined;
}

interface Asked {
  readonly id: string;
  readonly stream: (typeof STREAMS)[number];
  readonly signal: AbortSignal;
}

async function lastOf(client: Client, { id, stream, signal }: Asked): Promise<string | undefined> {
  const body = await client.stream(workerCalls.logs, { params: { id }, query: { stream }, signal });
  body.setEncoding('utf8');
  let kept = Buffer.alloc(0);
  let rest = '';
  for await (const chunk of body) {
    const lines = `${rest}${chunk}`.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines.filter((one) => one !== ''))
      kept = Buffer.concat([kept, Buffer.from((JSON.parse(line) as LogEvent).data ?? '', 'base64')]).subarray(
        -KEPT_BYTES,
      );
  }
  // What no database takes into a text, and what would move a terminal's cursor.
  const text = kept
    .toString('utf8')
    .replace(/[^\P{Cc}\n\t]/gu, '\ufffd')
    .trimEnd();
  const last = text.split('\n').slice(-LINES);
  return text === '' ? undefined : last.map((line) => `  ${line.slice(0, LINE_LENGTH)}`).join('\n');
}
