import { createHmac } from 'node:crypto';
import { messageOf } from '../../ground/base/errors.ts';
import type { TakenLetter } from '../store/verbs/deliver-letters.ts';
import type { Delivery } from './delivery.ts';

const ANSWER_MS = 10_000;
/** The receiver says that it is there no more. */
const GONE = 410;

export interface HookSettings {
  readonly version: string;
  /** What bodies are signed with. */
  readonly key?: string;
}

/** Tells a web hook. The body and its id are the same at every try. */
export async function sendHook(letter: TakenLetter, settings: HookSettings, signal: AbortSignal): Promise<Delivery> {
  const body = JSON.stringify(eventOf(letter));
  try {
    const answer = await fetch(letter.address, {
      method: 'POST',
      redirect: 'manual',
      headers: headersOf(letter, body, settings),
      body,
      signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]),
    });
    await answer.body?.cancel();
    if (answer.ok) return { outcome: 'sent' };
    const error = `web hook of ${new URL(letter.address).host}: it answered ${answer.status}`;
    return { outcome: answer.status === GONE ? 'refused' : 'failed', error, isWayBlocked: false };
  } catch (error) {
    const said = error instanceof TypeError && error.cause ? messageOf(error.cause) : messageOf(error);
    return { outcome: 'failed', error: `web hook of ${new URL(letter.address).host}: ${said}`, isWayBlocked: true };
  }
}

function headersOf({ uid }: TakenLetter, body: string, { version, key }: HookSettings): Record<string, string> {
  const signed =
    key === undefined
      ? {}
      : { 'x-pilotage-signature': `sha256=${createHmac('sha256', key).update(body).digest('hex')}` };
  return {
    'content-type': 'application/json',
    'user-agent': `pilotage/${version}`,
    'x-pilotage-event': uid,
    ...signed,
  };
}

function eventOf({ uid, createdAt, project, service, told }: TakenLetter) {
  const { event, job, failure, host } = told[0]?.facts ?? {};
  return { id: uid, event, at: new Date(createdAt).toISOString(), project, service, job, failure, host };
}
