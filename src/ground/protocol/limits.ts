/** Raised when a worker and a server no longer understand each other. */
export const PROTOCOL_VERSION = 1;
/** The most claims and reports that travel in one exchange. */
export const MAX_BATCH = 1000;
/** Output up to this size travels with the report and lives in a table; larger output is a blob. */
export const INLINE_LOG_BYTES = 64 * 1024;
/** The most tasks that one submission may have. */
export const MAX_TASKS = 10_000_000;
/** The most items that travel in one request; a client sends more of them as further chunks. */
export const MAX_ITEMS = 10_000;
/** The deepest nesting of a payload. */
export const MAX_PAYLOAD_DEPTH = 64;
