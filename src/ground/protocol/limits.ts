/** Raised when a worker and a server no longer understand each other. */
export const PROTOCOL_VERSION = 1;
/** The most claims and reports that travel in one exchange. */
export const MAX_BATCH = 1000;
/** Output up to this size travels with the report and lives in a table; larger output is a blob. */
export const INLINE_LOG_BYTES = 64 * 1024;
/** The most items that travel in one request; a client sends more of them as further chunks. */
export const MAX_ITEMS = 10_000;

export { MAX_PAYLOAD_DEPTH, MAX_TASKS } from '../base/limits.ts';
