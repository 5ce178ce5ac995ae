import { Check } from 'typebox/schema';
import { messageOf, PilotageError } from '../../ground/base/errors.ts';
import { Introduction } from '../../ground/protocol/peer.ts';
import { peerRoutes } from '../../ground/protocol/peer-routes.ts';
import { API } from '../../ground/protocol/route.ts';
import { post } from './link/dial.ts';
import { incompatible, PEER_PROTOCOL } from './peer-protocol.ts';

/** Rejects with a sentence that says what is at that address instead of a server. */
export async function introduceAt(place: { host: string; port: number }, own: Introduction): Promise<Introduction> {
  const where = `${place.host} port ${place.port}`;
  const answer = await post(place, API + peerRoutes.introduce.path, JSON.stringify(own)).catch((error: unknown) => {
    throw new PilotageError(
      'unreachable',
      `no Pilotage server answers at ${where} (${messageOf(error)}): are the name and the port right, is it running, and does it listen beyond its own machine?`,
      { cause: error },
    );
  });
  const body = parseJson(answer.text);
  if (answer.status === 200 && Check(Introduction, body)) {
    const introduction = body as Introduction;
    if (introduction.protocol !== PEER_PROTOCOL) throw incompatible(introduction.version, own.version);
    return introduction;
  }
  const detail = typeof body === 'object' && body !== null && 'detail' in body ? String(body.detail) : undefined;
  if (detail !== undefined && answer.status !== 401 && answer.status !== 404)
    throw new PilotageError(answer.status === 429 ? 'too-many-failures' : 'unreachable', `${where} refuses: ${detail}`);
  throw new PilotageError(
    'unreachable',
    `what answers at ${where} is no Pilotage server that knows of neighbours: is the port right?`,
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
