import { defineConfig } from 'vitest/config';

/** Three floors: `fast` (pure, milliseconds), `real` (real databases and HTTP), `whole` (real processes, kill -9). */
const WHOLE = ['test/end-to-end/**/*.test.ts'];
const FAST = [
  'test/ground/base/**/*.test.ts',
  'test/ground/protocol/**/*.test.ts',
  'test/server/core/**/*.test.ts',
  'test/face/cli/**/*.test.ts',
  'test/face/dashboard/**/*.test.ts',
];

export default defineConfig({
  test: {
    globalSetup: ['test/support/global-setup.ts'],
    projects: [
      { extends: true, test: { name: 'fast', include: FAST } },
      {
        extends: true,
        test: {
          name: 'real',
          include: ['test/**/*.test.ts'],
          exclude: [...FAST, ...WHOLE],
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
      {
        extends: true,
        test: { name: 'whole', include: WHOLE, testTimeout: 300_000, hookTimeout: 300_000, fileParallelism: false },
      },
    ],
  },
});
