/** The plan of the house: for each room, the rooms it may enter. Everything else is a wall. Type-only imports count. */
const HOUSE = {
  'ground/base': [],
  'ground/content': ['ground/base'],
  'ground/protocol': ['ground/base'],
  'ground/client': ['ground/protocol', 'ground/content', 'ground/base'],
  'ground/claimant': ['ground/client', 'ground/protocol', 'ground/base'],
  'server/core': ['ground/base'],
  'server/store': ['server/core', 'ground/base'],
  'server/access': ['server/store', 'server/core', 'ground/base'],
  'server/blobs': ['server/store', 'ground/content', 'ground/base'],
  'server/notices': ['server/store', 'server/core', 'ground/base'],
  'server/pool': ['server/store', 'server/access', 'server/blobs', 'ground/content', 'server/core', 'ground/base'],
  'server/backup': [
    'server/store',
    'server/access',
    'server/blobs',
    'server/pool',
    'ground/content',
    'server/core',
    'ground/base',
  ],
  'server/web': ['server/access', 'ground/protocol', 'ground/base'],
  'server/http': [
    'server/web',
    'server/backup',
    'server/pool',
    'server/access',
    'server/blobs',
    'server/store',
    'ground/content',
    'ground/protocol',
    'server/core',
    'ground/base',
  ],
  'server/couchdb': [
    'server/web',
    'server/pool',
    'server/access',
    'server/blobs',
    'server/store',
    'ground/content',
    'server/core',
    'ground/base',
  ],
  'server/federation': [
    'server/web',
    'server/pool',
    'server/access',
    'server/blobs',
    'server/store',
    'server/core',
    'ground/claimant',
    'ground/client',
    'ground/content',
    'ground/protocol',
    'ground/base',
  ],
  'worker/transport': ['ground/base', 'ground/content', 'ground/protocol'],
  'worker/scheduler': ['worker/transport', 'ground/base', 'ground/content', 'ground/protocol'],
  'worker/staging': ['worker/transport', 'ground/client', 'ground/base', 'ground/content', 'ground/protocol'],
  'worker/runner': ['worker/staging', 'ground/base', 'ground/content', 'ground/protocol'],
  'worker/worker': [
    'worker/runner',
    'worker/staging',
    'ground/claimant',
    'ground/client',
    'ground/base',
    'ground/content',
    'ground/protocol',
  ],
  'worker/agent': [
    'worker/scheduler',
    'worker/transport',
    'worker/staging',
    'ground/claimant',
    'ground/client',
    'ground/base',
    'ground/content',
    'ground/protocol',
  ],
  'worker/service': [
    'worker/staging',
    'ground/claimant',
    'ground/client',
    'ground/base',
    'ground/content',
    'ground/protocol',
  ],
  'face/cli': ['ground/client', 'ground/base', 'ground/content', 'ground/protocol'],
  'face/dashboard': ['ground/client', 'ground/base', 'ground/content', 'ground/protocol'],
};

const walls = Object.entries(HOUSE).map(([room, doors]) => ({
  name: `wall-of-${room.replace('/', '-')}`,
  severity: 'error',
  comment: `${room} may enter ${doors.join(', ') || 'no other room'}`,
  from: { path: `^src/${room}/` },
  to: { path: '^src/', pathNot: [room, ...doors].map((open) => `^src/${open}/`) },
}));

/** Rooms that say something about the outside world would stop being true everywhere. */
const pure = {
  name: 'pure-rooms-import-nothing-from-outside',
  severity: 'error',
  comment: 'server/core and ground/base have no clock, no randomness, no package and no node: module',
  from: { path: '^src/(server/core|ground/base)/' },
  to: { pathNot: '^src/' },
};

/** What runs in a browser is small, and knows no Node.js. Types cost nothing there. */
const browser = {
  name: 'pages-run-in-a-browser',
  severity: 'error',
  comment:
    'face/dashboard takes types from anywhere it may enter, and code from preact and from rooms without node: modules',
  from: { path: '^src/face/dashboard/' },
  to: {
    pathNot: ['^src/face/dashboard/', '^src/ground/(base|content/file-parameters)', '^node_modules/preact/'],
    dependencyTypesNot: ['type-only'],
  },
};

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'nothing-unknown', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'no-room-without-a-plan',
      severity: 'error',
      from: { path: '^src/', pathNot: [...Object.keys(HOUSE).map((room) => `^src/${room}/`), '^src/main/'] },
      to: {},
    },
    { name: 'nobody-enters-main', severity: 'error', from: { path: '^src/(?!main/)' }, to: { path: '^src/main/' } },
    pure,
    browser,
    ...walls,
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'types', 'node', 'default'] },
    reporterOptions: { dot: { collapsePattern: '^src/[^/]+/[^/]+' } },
  },
};
