import {
  ConnectRequest,
  Introduction,
  PeerDetail,
  PeerList,
  PeerNews,
  PeerText,
  PeerView,
  PingReply,
  PingRequest,
  PongReply,
  PriorityRequest,
  Terms,
} from './peer.ts';
import { closed } from './schema.ts';

const OnePeer = closed({ peer: PeerText });

/** What administrators do with neighbours, and the one call that a stranger may make. */
export const peerRoutes = {
  peers: { method: 'GET', path: '/peers', summary: 'Neighbours and requests of both sides', reply: PeerList },
  peer: {
    method: 'GET',
    path: '/peers/:peer',
    summary: 'One neighbour, with the network as far as it was told',
    params: OnePeer,
    reply: PeerDetail,
  },
  connectPeer: {
    method: 'POST',
    path: '/peers',
    summary: 'Ask another server to become a neighbour',
    body: ConnectRequest,
    reply: PeerView,
    status: 201,
  },
  trustPeer: {
    method: 'POST',
    path: '/peers/:peer/trust',
    summary: 'Answer the request of another server: it is a neighbour from then on',
    params: OnePeer,
    reply: PeerView,
  },
  revokePeer: {
    method: 'POST',
    path: '/peers/:peer/revoke',
    summary: 'End the trust, or take back or refuse a request',
    params: OnePeer,
    reply: PeerView,
  },
  setPeerPriority: {
    method: 'POST',
    path: '/peers/:peer/priority',
    summary: 'Say in which order neighbours are asked for work',
    params: OnePeer,
    body: PriorityRequest,
    reply: PeerList,
  },
  setPeerTerms: {
    method: 'PUT',
    path: '/peers/:peer/terms',
    summary: 'Say what a neighbour is lent',
    params: OnePeer,
    body: Terms,
    reply: PeerView,
  },
  pingPeer: {
    method: 'POST',
    path: '/peers/:peer/ping',
    summary: 'Is it there? Also a server further away, through those between',
    params: OnePeer,
    reply: PingReply,
  },
  introduce: {
    method: 'POST',
    path: '/peers/introductions',
    summary: 'A server asks to become a neighbour: it is listed, and nothing more',
    body: Introduction,
    reply: Introduction,
    open: true,
  },
} as const;

export type PeerRoutes = typeof peerRoutes;

/** What two neighbours tell each other over their link; nobody else gets there. */
export const linkRoutes = {
  news: { method: 'POST', path: '/link/news', summary: 'What changed', body: PeerNews, reply: closed({}) },
  ping: {
    method: 'POST',
    path: '/link/ping',
    summary: 'Passed on to whom it is for',
    body: PingRequest,
    reply: PongReply,
  },
  farewell: {
    method: 'POST',
    path: '/link/farewell',
    summary: 'The trust is ended',
    body: closed({}),
    reply: closed({}),
  },
} as const;

export type LinkRoutes = typeof linkRoutes;

/** The table of a neighbour's calls to the pool: it works, as a worker does, and does nothing else. */
export const NEIGHBOUR_CALLS = [
  'register',
  'exchange',
  'leave',
  'checkpoint',
  'missingBlobs',
  'putBlob',
  'putBlobs',
  'uploadState',
  'getBlob',
] as const;
