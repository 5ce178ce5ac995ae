/** What is kept of a stream that may be longer than is good for the memory. */
export interface KeptOutput {
  readonly isCut: boolean;
  add(piece: Buffer): void;
  bytes(): Buffer;
  /** With a mark where it was cut. */
  text(): string;
}

export function keptOutput(limit: number): KeptOutput {
  const pieces: Buffer[] = [];
  let size = 0;
  let lost = 0;
  return {
    get isCut() {
      return lost > 0;
    },
    add: (piece) => {
      const part = piece.subarray(0, Math.max(0, limit - size));
      // A copy: a small piece would hold the large buffer it is part of.
      if (part.length > 0) pieces.push(Buffer.from(part));
      size += part.length;
      lost += piece.length - part.length;
    },
    bytes: () => Buffer.concat(pieces),
    text: () => Buffer.concat(pieces).toString() + (lost > 0 ? `\n[${lost} more bytes were cut off here]\n` : ''),
  };
}
