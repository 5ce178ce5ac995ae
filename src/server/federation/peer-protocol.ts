/** Raised when neighbours of two versions no longer understand each other. */
export const PEER_PROTOCOL = 1;
