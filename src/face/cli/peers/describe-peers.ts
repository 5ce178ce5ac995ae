import type { PeerDetail, PeerList, PeerView, Terms } from '../../../ground/protocol/peer.ts';
import { type Column, formatAge, formatTable, plural } from '../table.ts';

const STATES = [
  { title: 'Sent connection requests:', states: ['sent'] },
  { title: 'Received connection requests:', states: ['received'] },
  { title: 'Connected nodes:', states: ['connected'] },
  { title: 'Nodes currently unreachable:', states: ['unreachable'] },
  { title: 'Ended trust:', states: ['revoked'] },
] as const;

/** All peers by what they are to us, each with its id, which is what people compare. */
export function describePeers({ self, peers }: PeerList, now: Date): string {
  const parts = STATES.flatMap(({ title, states }) => {
    const some = peers.filter(({ state }) => (states as readonly string[]).includes(state));
    if (some.length === 0) return [];
    return [`${title}\n${formatTable(columns(now), some)}${some.flatMap(remark).join('')}`];
  });
  const head = `This server: ${self.name}\n  id: ${self.id}\n`;
  if (parts.length > 0) return `${head}\n${parts.join('\n')}`.trimEnd();
  return `${head}\nIt has no neighbours: 'pilotage peer connect HOST' asks another server to become one.`;
}

function remark({ name, error, state }: PeerView): string[] {
  return error !== null && state !== 'received' ? [`  ${name}: ${error}\n`] : [];
}

function columns(now: Date): Column<PeerView>[] {
  return [
    { title: 'PRIORITY', of: ({ priority }) => (priority === null ? '-' : String(priority)), align: 'right' },
    { title: 'NAME', of: ({ name }) => name },
    { title: 'HOSTNAME', of: ({ host }) => host ?? '-' },
    { title: 'PORT', of: ({ port }) => (port === null ? '-' : String(port)), align: 'right' },
    { title: 'LAST CONTACT', of: ({ lastContact }) => formatAge(lastContact, now) },
    { title: 'TASKS HERE', of: ({ here }) => String(here), align: 'right' },
    { title: 'TASKS THERE', of: ({ there }) => String(there), align: 'right' },
    { title: 'SERVER ID', of: ({ id }) => id },
  ];
}

export function describePeer(peer: PeerDetail, now: Date): string {
  const lines = [
    `${peer.name}: ${peer.state}${peer.priority === null ? '' : `, priority ${peer.priority}`}`,
    `  id: ${peer.id}`,
    `  found at: ${peer.places.map(({ host, port }) => `${host} ${port}`).join(', ') || '-'}`,
    `  last contact: ${formatAge(peer.lastContact, now)}${peer.version === null ? '' : `, Pilotage ${peer.version}`}`,
    ...(peer.error === null ? [] : [`  no link: ${peer.error}`]),
    `  it is lent ${describeTerms(peer.terms)}`,
    `  it lends ${peer.theirTerms === null ? 'what it has not told yet' : describeTerms(peer.theirTerms)}`,
    `  its tasks here: ${peer.here}, in all ${formatHours(peer.lentHours)} of our workers' time`,
    `  our tasks there: ${peer.there}, in all ${formatHours(peer.borrowedHours)} of its workers' time`,
    '',
    'The network, as far as it was told:',
    ...describeMap(peer.topology),
  ];
  return lines.join('\n');
}

function describeMap(map: PeerDetail['topology']): string[] {
  const names = new Map(map.map(({ id, name }) => [id, name]));
  return map.map(({ id, name, places, neighbours }, i) => {
    const where = places[0] ? ` (${places[0].host} ${places[0].port})` : '';
    const others = neighbours.map((other) => names.get(other) ?? other.slice(0, 12)).join(', ');
    return `  ${name}${i === 0 ? ' (this server)' : ''}${where} ${id.slice(0, 16)}… — ${others || 'no neighbours'}`;
  });
}

/** As it goes on after "is lent". */
export function describeTerms({ share, labels, hours, projects, send }: Terms): string {
  const limits = [
    ...(share === undefined ? [] : [share === 0 ? 'nothing' : `at most ${Math.round(share * 1000) / 10}% of the cpus`]),
    ...(labels ? [`only workers with ${pairs(labels)}`] : []),
    ...(hours ? [`only at ${hours.join(' and ')}`] : []),
    ...(projects ? [`only for its ${plural(projects.length, 'project')} ${projects.join(', ')}`] : []),
  ];
  const lent = limits.length === 0 ? 'whatever workers have free' : limits.join(', ');
  if (send === undefined) return lent;
  return `${lent}; ${send.length === 0 ? 'no task of ours goes there' : `of ours only tasks of ${send.join(', ')} go there`}`;
}

function pairs(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(', ');
}

function formatHours(hours: number): string {
  return `${hours < 10 ? hours.toFixed(3) : hours.toFixed(1)} CPU hours`;
}
