import type { Db, Dialect } from './db.ts';
import type { DumpWish, Snapshot } from './dump/snapshot.ts';
import * as answers from './verbs/answer-claimed.ts';
import * as audit from './verbs/audit.ts';
import { balancePilots } from './verbs/balance-pilots.ts';
import * as blobs from './verbs/blobs.ts';
import * as borrowed from './verbs/borrowed.ts';
import { changeServiceJobs } from './verbs/change-service-jobs.ts';
import * as checkpoints from './verbs/checkpoints.ts';
import * as databases from './verbs/databases.ts';
import * as letters from './verbs/deliver-letters.ts';
import * as changes from './verbs/document-changes.ts';
import * as exchangeVerbs from './verbs/exchange.ts';
import * as forget from './verbs/forget.ts';
import * as gates from './verbs/gates.ts';
import * as holders from './verbs/holders.ts';
import * as holds from './verbs/holds.ts';
import * as imports from './verbs/imports.ts';
import * as jobs from './verbs/jobs.ts';
import { leaveService } from './verbs/leave-service.ts';
import * as linkedJobs from './verbs/linked-jobs.ts';
import * as members from './verbs/members.ts';
import { mergeRecord } from './verbs/merge-record.ts';
import * as owners from './verbs/owners.ts';
import * as peers from './verbs/peers.ts';
import * as people from './verbs/people.ts';
import * as pilots from './verbs/pilots.ts';
import { pollService } from './verbs/poll-service.ts';
import * as projects from './verbs/projects.ts';
import * as quotas from './verbs/quotas.ts';
import * as readDocuments from './verbs/read-documents.ts';
import * as readSubmissions from './verbs/read-submissions.ts';
import * as readTasks from './verbs/read-tasks.ts';
import * as rescue from './verbs/rescue-tokens.ts';
import * as retry from './verbs/retry-tasks.ts';
import * as reuse from './verbs/reuse.ts';
import * as servers from './verbs/servers.ts';
import * as serviceJobs from './verbs/service-jobs.ts';
import * as services from './verbs/services.ts';
import { tellSilentHosts } from './verbs/silent-hosts.ts';
import { findStanding } from './verbs/standing.ts';
import * as submissions from './verbs/submissions.ts';
import { findDemand, findSupply } from './verbs/supply.ts';
import * as tokens from './verbs/tokens.ts';
import * as users from './verbs/users.ts';
import { wishServiceJobs } from './verbs/wish-service-jobs.ts';
import * as workers from './verbs/workers.ts';
import { writeDocuments } from './verbs/write-documents.ts';

/** Verbs that change something. Each is one transaction: when its promise resolves, what it did is on disk. */
export const WRITE_VERBS = {
  startServer: servers.startServer,
  beatServer: servers.beatServer,
  beginHold: holds.beginHold,
  renewHold: holds.renewHold,
  endHold: holds.endHold,
  beginImport: imports.beginImport,
  beginImportRows: imports.beginImportRows,
  takeNumbers: imports.takeNumbers,
  importQueue: imports.importQueue,
  insertImported: imports.insertImported,
  finishImport: imports.finishImport,
  dropImport: imports.dropImport,
  agreeOn: servers.agreeOn,
  createToken: tokens.createToken,
  revokeToken: tokens.revokeToken,
  renewSession: tokens.renewSession,
  forgetSessions: tokens.forgetSessions,
  createProject: projects.createProject,
  addBlobs: blobs.addBlobs,
  noteGone: blobs.noteGone,
  missingBlobs: blobs.missingBlobs,
  addTree: blobs.addTree,
  markRemoval: blobs.markRemoval,
  finishRemoval: blobs.finishRemoval,
  takeOverRemovals: blobs.takeOverRemovals,
  setQuota: quotas.setQuota,
  keepCheckpoint: checkpoints.keepCheckpoint,
  findSource: holders.findSource,
  setHolds: holders.setHolds,
  dropHolders: holders.dropHolders,
  submit: submissions.submit,
  addArrayChunk: submissions.addArrayChunk,
  addItems: submissions.addItems,
  openSubmissions: submissions.openSubmissions,
  answerReused: reuse.answerReused,
  answerClaimed: answers.answerClaimed,
  balancePilots,
  setPilots: pilots.setPilots,
  pausePilots: pilots.pausePilots,
  removePilots: pilots.removePilots,
  forgetPilots: pilots.forgetPilots,
  createJob: jobs.createJob,
  projectUid: jobs.projectUid,
  mergeRecord,
  hostService: services.hostService,
  leaveService,
  nudgeService: services.nudgeService,
  pollService,
  createServiceJob: serviceJobs.createServiceJob,
  wishServiceJobs,
  changeServiceJobs,
  tellSilentHosts,
  takeLetter: letters.takeLetter,
  finishLetter: letters.finishLetter,
  hastenLetters: letters.hastenLetters,
  forgetLetters: letters.forgetLetters,
  forgetSubmission: forget.forgetSubmission,
  removeChunk: forget.removeChunk,
  registerWorker: workers.registerWorker,
  exchange: exchangeVerbs.exchange,
  leaveWorker: workers.leaveWorker,
  instructWorkers: workers.instructWorkers,
  followTask: workers.followTask,
  alertWorkers: workers.alertWorkers,
  rescueExpired: workers.rescueExpired,
  releaseDue: gates.releaseDue,
  foldCounts: gates.foldCounts,
  endSubmission: gates.endSubmission,
  endChunk: gates.endChunk,
  endTasks: gates.endTasks,
  retryTasks: retry.retryTasks,
  acceptLate: retry.acceptLate,
  writeDocuments,
  rescueTokens: rescue.rescueTokens,
  undoClaim: rescue.undoClaim,
  followChanges: changes.followChanges,
  addMonitor: databases.addMonitor,
  setSecurity: databases.setSecurity,
  renameProject: databases.renameProject,
  setTokenLimits: databases.setTokenLimits,
  putUser: users.putUser,
  removeUser: users.removeUser,
  requestPeer: peers.requestPeer,
  trustPeer: peers.trustPeer,
  acceptTrust: peers.acceptTrust,
  revokePeer: peers.revokePeer,
  forgetPeer: peers.forgetPeer,
  setPeerPriority: peers.setPeerPriority,
  setPeerTerms: peers.setPeerTerms,
  peerProjects: peers.peerProjects,
  notePeer: peers.notePeer,
  notePeerContact: peers.notePeerContact,
  keepPeerSession: peers.keepPeerSession,
  leadPeers: peers.leadPeers,
  leavePeers: peers.leavePeers,
  dropPeerSessions: workers.dropPeerSessions,
  borrowTasks: borrowed.borrowTasks,
  settleBorrowed: borrowed.settleBorrowed,
  giveBackBorrowed: borrowed.giveBackBorrowed,
  endBorrowed: borrowed.endBorrowed,
  firstAdministrator: people.firstAdministrator,
  addPerson: people.addPerson,
  setRole: people.setRole,
  setPersonPassword: people.setPersonPassword,
  removePerson: people.removePerson,
  grantProject: members.grantProject,
  revokeProject: members.revokeProject,
  transferProject: members.transferProject,
  setOwner: owners.setOwner,
  setRunningLimit: owners.setRunningLimit,
  writeAudit: audit.writeAudit,
  forgetAudit: audit.forgetAudit,
} as const;

/** Verbs that only look. They see everything that was acknowledged before they were called. */
export const READ_VERBS = {
  findToken: tokens.findToken,
  listTokens: tokens.listTokens,
  findAttemptCredential: tokens.findAttemptCredential,
  listProjects: projects.listProjects,
  countByProject: projects.countByProject,
  countSubmissions: projects.countSubmissions,
  findBlob: blobs.findBlob,
  blobSizes: blobs.blobSizes,
  knownTrees: blobs.knownTrees,
  removableBlobs: blobs.removableBlobs,
  projectUsage: blobs.projectUsage,
  findQuota: quotas.findQuota,
  getCheckpoints: checkpoints.getCheckpoints,
  ticketKeys: holders.ticketKeys,
  findHold: holds.findHold,
  findImported: imports.findImported,
  abandonedImports: imports.abandonedImports,
  getSubmissions: readSubmissions.getSubmissions,
  getRequest: readSubmissions.getRequest,
  getSpecs: readSubmissions.getSpecs,
  anyClaimable: readSubmissions.anyClaimable,
  listSubmissions: readSubmissions.listSubmissions,
  listTasks: readTasks.listTasks,
  getTask: readTasks.getTask,
  listResults: readTasks.listResults,
  getLogs: readTasks.getLogs,
  queuedBefore: readTasks.queuedBefore,
  firstTask: readTasks.firstTask,
  unsuccessful: retry.unsuccessful,
  unfinished: retry.unfinished,
  listPilots: pilots.listPilots,
  oldPilots: pilots.oldPilots,
  listJobs: jobs.listJobs,
  runningJobs: jobs.runningJobs,
  getJob: jobs.getJob,
  listServices: services.listServices,
  getService: services.getService,
  getServiceJob: serviceJobs.getServiceJob,
  findLinkedJob: linkedJobs.findLinkedJob,
  linkOfJob: linkedJobs.linkOfJob,
  knownServiceJobs: serviceJobs.knownServiceJobs,
  countServiceJobs: serviceJobs.countServiceJobs,
  lettersDue: letters.lettersDue,
  countLetters: letters.countLetters,
  listWorkers: workers.listWorkers,
  findWorker: workers.findWorker,
  getDocuments: readDocuments.getDocuments,
  listDocuments: readDocuments.listDocuments,
  databaseFacts: readDocuments.databaseFacts,
  readChanges: changes.readChanges,
  changeHorizon: changes.changeHorizon,
  findUser: users.findUser,
  listUsers: users.listUsers,
  listPeers: peers.listPeers,
  countPeerTasks: peers.countPeerTasks,
  listBorrowed: borrowed.listBorrowed,
  findBorrowed: borrowed.findBorrowed,
  sealedSecrets: borrowed.sealedSecrets,
  endedBorrowed: borrowed.endedBorrowed,
  endedSince: borrowed.endedSince,
  readEnded: borrowed.readEnded,
  borrowedProgress: borrowed.borrowedProgress,
  borrowedLoad: borrowed.borrowedLoad,
  borrowedLeftovers: borrowed.borrowedLeftovers,
  findSupply,
  findDemand,
  accessOfUser: members.accessOfUser,
  listMembers: members.listMembers,
  listAudit: audit.listAudit,
  listGiven: owners.listGiven,
  listOwners: owners.listOwners,
  findStanding,
} as const;

type Verb<F> = F extends (db: Db, input: infer Input) => infer Result
  ? unknown extends Input
    ? () => Result
    : undefined extends Input
      ? (input?: Input) => Result
      : (input: Input) => Result
  : never;

/**
 * The list of what the server can do with its database. Rejections: `storage-full` and `storage-failed` are
 * `PilotageError`s and mean that nothing happened, unless the connection broke while the outcome was on its way;
 * every verb may be repeated.
 */
export type Store = { readonly [K in keyof typeof WRITE_VERBS]: Verb<(typeof WRITE_VERBS)[K]> } & {
  readonly [K in keyof typeof READ_VERBS]: Verb<(typeof READ_VERBS)[K]>;
} & {
  readonly dialect: Dialect;
  /** Everything as it is at one moment, while others go on writing. Whoever opens it closes it: it costs room until then. */
  openSnapshot(wish: DumpWish): Promise<Snapshot>;
  /** Tells other servers of this database (and this one) that something happened. Lost notes are made up for by polling. */
  tell(note: string): void;
  /** Called with each note, also this server's own. */
  onNote(listener: (note: string) => void): void;
  /** Waits for what was begun, and closes. */
  close(): Promise<void>;
};

export type VerbName = keyof typeof WRITE_VERBS | keyof typeof READ_VERBS;

export function isWrite(verb: VerbName): boolean {
  return Object.hasOwn(WRITE_VERBS, verb);
}

const ALL_VERBS = { ...WRITE_VERBS, ...READ_VERBS } as unknown as Record<
  VerbName,
  (db: Db, input: unknown) => Promise<unknown>
>;

export function runVerb(db: Db, verb: VerbName, input: unknown): Promise<unknown> {
  return ALL_VERBS[verb](db, input);
}

export const VERB_NAMES = Object.keys(ALL_VERBS) as VerbName[];
