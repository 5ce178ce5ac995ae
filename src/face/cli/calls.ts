import type { PeerRoutes } from '../../ground/protocol/peer-routes.ts';
import type { Routes } from '../../ground/protocol/routes.ts';

/**
 * The calls of the command line without their schemas, which take a fifth of a second to load.
 * A test holds this table equal to those in `routes.ts` and `peer-routes.ts`.
 */
export const calls = {
  status: bare<'status'>('GET', '/status'),
  submit: bare<'submit'>('POST', '/submissions'),
  addItems: bare<'addItems'>('POST', '/submissions/:id/items'),
  closeSubmission: bare<'closeSubmission'>('POST', '/submissions/:id/close'),
  submission: bare<'submission'>('GET', '/submissions/:id'),
  submissions: bare<'submissions'>('GET', '/submissions'),
  tasks: bare<'tasks'>('GET', '/tasks'),
  task: bare<'task'>('GET', '/tasks/:id'),
  why: bare<'why'>('GET', '/tasks/:id/why'),
  logs: bare<'logs'>('GET', '/tasks/:id/logs'),
  results: bare<'results'>('GET', '/results/:id'),
  cancel: bare<'cancel'>('POST', '/tasks/cancel'),
  retry: bare<'retry'>('POST', '/tasks/retry'),
  forget: bare<'forget'>('POST', '/submissions/forget'),
  acceptLate: bare<'acceptLate'>('POST', '/tasks/:id/accept'),
  createJob: bare<'createJob'>('POST', '/projects/:project/jobs'),
  jobs: bare<'jobs'>('GET', '/projects/:project/jobs'),
  job: bare<'job'>('GET', '/projects/:project/jobs/:number'),
  jobProcesses: bare<'jobProcesses'>('GET', '/projects/:project/jobs/processes'),
  jobRecord: bare<'jobRecord'>('GET', '/projects/:project/jobs/:number/record'),
  services: bare<'services'>('GET', '/projects/:project/services'),
  service: bare<'service'>('GET', '/projects/:project/services/:service'),
  createServiceJob: bare<'createServiceJob'>('POST', '/projects/:project/services/:service/jobs'),
  wishJobs: bare<'wishJobs'>('POST', '/projects/:project/jobs/wishes'),
  nudgeService: bare<'nudgeService'>('POST', '/projects/:project/services/:service/nudge'),
  workers: bare<'workers'>('GET', '/workers'),
  drainWorkers: bare<'drainWorkers'>('POST', '/workers/drain'),
  stopWorkers: bare<'stopWorkers'>('POST', '/workers/stop'),
  pilots: bare<'pilots'>('GET', '/pilots'),
  setPilots: bare<'setPilots'>('PUT', '/pilots/:site'),
  pausePilots: bare<'pausePilots'>('POST', '/pilots/:site/pause'),
  removePilots: bare<'removePilots'>('DELETE', '/pilots/:site'),
  projects: bare<'projects'>('GET', '/projects'),
  createProject: bare<'createProject'>('POST', '/projects'),
  projectUsage: bare<'projectUsage'>('GET', '/projects/:project/usage'),
  setTokenLimits: bare<'setTokenLimits'>('PUT', '/projects/:project/token-limits'),
  makeCredentials: bare<'makeCredentials'>('POST', '/projects/:project/credentials'),
  setQuota: bare<'setQuota'>('PUT', '/projects/:project/quota'),
  tokens: bare<'tokens'>('GET', '/tokens'),
  createToken: bare<'createToken'>('POST', '/tokens'),
  revokeToken: bare<'revokeToken'>('DELETE', '/tokens/:id'),
  peers: bare<'peers'>('GET', '/peers'),
  peer: bare<'peer'>('GET', '/peers/:peer'),
  connectPeer: bare<'connectPeer'>('POST', '/peers'),
  trustPeer: bare<'trustPeer'>('POST', '/peers/:peer/trust'),
  revokePeer: bare<'revokePeer'>('POST', '/peers/:peer/revoke'),
  setPeerPriority: bare<'setPeerPriority'>('POST', '/peers/:peer/priority'),
  setPeerTerms: bare<'setPeerTerms'>('PUT', '/peers/:peer/terms'),
  pingPeer: bare<'pingPeer'>('POST', '/peers/:peer/ping'),
  login: bare<'login'>('POST', '/login'),
  logout: bare<'logout'>('POST', '/logout'),
  whoami: bare<'whoami'>('GET', '/whoami'),
  users: bare<'users'>('GET', '/users'),
  addUser: bare<'addUser'>('POST', '/users'),
  removeUser: bare<'removeUser'>('DELETE', '/users/:user'),
  setRole: bare<'setRole'>('PUT', '/users/:user/role'),
  setPassword: bare<'setPassword'>('PUT', '/users/:user/password'),
  projectMembers: bare<'projectMembers'>('GET', '/projects/:project/members'),
  grantProject: bare<'grantProject'>('PUT', '/projects/:project/members/:user'),
  revokeProject: bare<'revokeProject'>('DELETE', '/projects/:project/members/:user'),
  transferProject: bare<'transferProject'>('POST', '/projects/:project/transfer'),
  audit: bare<'audit'>('GET', '/audit'),
  stopServer: bare<'stopServer'>('POST', '/stop'),
};

type All = Routes & PeerRoutes;

function bare<Name extends keyof All>(method: All[Name]['method'], path: All[Name]['path']): All[Name] {
  return { method, path, summary: '' } as unknown as All[Name];
}
