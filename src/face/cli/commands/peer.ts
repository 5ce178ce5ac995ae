import type { Command } from 'commander';
import { PilotageError } from '../../../ground/base/errors.ts';
import type { Terms } from '../../../ground/protocol/peer.ts';
import { calls } from '../calls.ts';
import type { Define } from '../define.ts';
import { defined } from '../defined.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { SEVERAL } from '../option-sources.ts';
import { collectList, collectPairs, wholeNumber } from '../option-values.ts';
import { describePeer, describePeers, describeTerms } from '../peers/describe-peers.ts';

interface LendOptions {
  readonly share?: string;
  readonly label?: Readonly<Record<string, string>>;
  readonly hours?: readonly string[];
  readonly project?: readonly string[];
  readonly send?: readonly string[];
  readonly sendNothing?: boolean;
  readonly everything?: boolean;
}

const PEER = "its name in 'pilotage peer list', or the first digits of its id (four or more)";
const USUAL_PORT = 9990;

const TERMS = `
What is not given stays as it is; --everything takes all limits away. Tasks of the neighbour that run here when less is
lent go on to their end, those that wait go back at once.`;

export function peerCommand(define: Define): Command {
  const of = (
    name: string,
    summary: string,
    act: (invocation: Invocation, options: object, peer: string) => Promise<number>,
  ): Command => define(name, summary, act).argument('<peer>', PEER);
  const lend = define(
    'lend',
    'Say what a neighbour is lent of our workers, and which tasks of ours may go there',
    setTerms,
  )
    .argument('<peer>', PEER)
    .option('--share <percent>', 'of the cpus of all workers at most, as in 50%; 0% lends nothing')
    .option('--label <name=value>', `only workers with this label ${SEVERAL}`, collectPairs)
    .option('--hours <from-to>', `only within these hours of each day, as in 20:00-06:00 ${SEVERAL}`, collectList)
    .option('-p, --project <name>', `only tasks of this project of the neighbour ${SEVERAL}`, collectList)
    .option('--send <name>', `of our own projects only the tasks of this one may go there ${SEVERAL}`, collectList)
    .option('--send-nothing', 'no task of ours may go there')
    .option('--everything', 'take all limits away first')
    .addHelpText('after', TERMS);
  return define('peer', 'Neighbours: other servers with which this one shares workers', list)
    .addCommand(define('list', 'Show neighbours, and requests of both sides', list))
    .addCommand(
      define('connect', 'Ask another server to become a neighbour', connect)
        .argument('<host>', 'where it is')
        .argument('[port]', `its port, ${USUAL_PORT} unless given`, wholeNumber(1)),
    )
    .addCommand(of('trust', 'Answer the request of a server: it is a neighbour from then on', trust))
    .addCommand(of('revoke', 'End the trust, or take back or refuse a request', revoke))
    .addCommand(
      define('priority', 'Say at which place a neighbour is asked for work, 0 first', priority)
        .argument('<peer>', PEER)
        .argument('<n>', 'the place', wholeNumber()),
    )
    .addCommand(lend)
    .addCommand(of('show', 'Show one neighbour, and the network as far as it was told', show))
    .addCommand(of('ping', 'Is a server there? Also one further away, through those between', ping));
}

async function list(invocation: Invocation): Promise<number> {
  const peers = await invocation.client().call(calls.peers);
  await invocation.print(peers, () => describePeers(peers, invocation.context.now()));
  return EXIT.done;
}

async function connect(invocation: Invocation, _options: object, host: string, port?: number): Promise<number> {
  const body = toPlace(host, port);
  const peer = await invocation.client().call(calls.connectPeer, { body });
  await invocation.print(peer, () => {
    if (peer.state !== 'sent') return `'${peer.name}' had asked too: it is a neighbour now\n  its id: ${peer.id}`;
    return [
      `Connection request sent to ${body.host} ${body.port}`,
      `  its id: ${peer.id}`,
      "  An administrator there compares our id, which 'pilotage peer list' shows at its head, and says 'pilotage peer trust ID'.",
      '  If its id is not what they say it is there, somebody is in between: take the request back with',
      `  'pilotage peer revoke ${peer.name}'`,
    ].join('\n');
  });
  return EXIT.done;
}

/** Also as it stands in other places: `HOST:PORT`, and the address of a server. */
function toPlace(text: string, given: number | undefined): { host: string; port: number } {
  const [, host = text, port] = /^(?:https?:\/\/)?([^/:]+|\[[^\]/]+\])(?::(\d+))?\/?$/.exec(text) ?? [];
  if (port !== undefined && given !== undefined)
    throw new PilotageError('bad-request', `'${text}' names a port, and ${given} is another one: give it once`);
  return { host: host.replace(/^\[(.*)\]$/, '$1'), port: given ?? (port === undefined ? USUAL_PORT : Number(port)) };
}

async function trust(invocation: Invocation, _options: object, peer: string): Promise<number> {
  const trusted = await invocation.client().call(calls.trustPeer, { params: { peer } });
  await invocation.print(
    trusted,
    () =>
      `'${trusted.name}' (${trusted.host} ${trusted.port}) is now trusted: whichever of the two can reach the other makes the link, and each lends the other its idle workers\n  its id: ${trusted.id}`,
  );
  return EXIT.done;
}

async function revoke(invocation: Invocation, _options: object, peer: string): Promise<number> {
  const was = await invocation.client().call(calls.revokePeer, { params: { peer } });
  await invocation.print(was, () =>
    was.state === 'connected' || was.state === 'unreachable'
      ? `'${was.name}' is no neighbour any more: its tasks here were ended and are its own again, and so are ours there`
      : `the request of or to '${was.name}' is no more`,
  );
  return EXIT.done;
}

async function priority(invocation: Invocation, _options: object, peer: string, place: number): Promise<number> {
  const body = { priority: place };
  const peers = await invocation.client().call(calls.setPeerPriority, { params: { peer }, body });
  await invocation.print(peers, () => describePeers(peers, invocation.context.now()));
  return EXIT.done;
}

async function setTerms(invocation: Invocation, options: LendOptions, peer: string): Promise<number> {
  if (options.sendNothing && options.send)
    throw new PilotageError('bad-request', '--send-nothing and --send contradict each other: give one of them');
  const empty = options.hours?.find((span) => /^(.+)-\1$/.test(span));
  if (empty !== undefined)
    throw new PilotageError(
      'bad-request',
      `'${empty}' begins when it ends: for the whole day leave --hours out, for never give --share 0%`,
    );
  const client = invocation.client();
  const standing = options.everything ? {} : (await client.call(calls.peer, { params: { peer } })).terms;
  const body: Terms = {
    ...standing,
    ...defined({
      share: options.share === undefined ? undefined : toShare(options.share),
      labels: options.label,
      hours: options.hours && [...options.hours],
      projects: options.project && [...options.project],
      send: options.sendNothing ? [] : options.send && [...options.send],
    }),
  };
  const view = await client.call(calls.setPeerTerms, { params: { peer }, body });
  await invocation.print(view, () => `'${view.name}' is lent ${describeTerms(view.terms)}`);
  return EXIT.done;
}

function toShare(text: string): number {
  const match = /^(\d{1,3}(?:\.\d+)?)%?$/.exec(text);
  const percent = Number(match?.[1]);
  if (match && percent <= 100) return percent / 100;
  throw new PilotageError('bad-request', `'${text}' is no share: write a percentage, as in 50%`);
}

async function show(invocation: Invocation, _options: object, peer: string): Promise<number> {
  const detail = await invocation.client().call(calls.peer, { params: { peer } });
  await invocation.print(detail, () => describePeer(detail, invocation.context.now()));
  return EXIT.done;
}

async function ping(invocation: Invocation, _options: object, peer: string): Promise<number> {
  const pong = await invocation.client().call(calls.pingPeer, { params: { peer } });
  await invocation.print(pong, () => `it answers after ${pong.milliseconds} ms, through ${pong.names.join(' → ')}`);
  return EXIT.done;
}
