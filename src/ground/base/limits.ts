/** The most tasks that one submission may have. */
export const MAX_TASKS = 10_000_000;
/** The deepest nesting of a payload. */
export const MAX_PAYLOAD_DEPTH = 64;
