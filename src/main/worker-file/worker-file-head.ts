const ROOM = '              ';

/** What a worker file is made for, as `uname` says it. */
export interface System {
  readonly name: string;
  readonly machine: string;
}

/**
 * The beginning of a worker file: a shell script that unpacks the archive behind it into a directory beside it, and
 * starts what it finds there. Many may start at once, also on several machines with one disk: the first to have
 * unpacked all of it gives it its name, by one rename, and the others take that.
 */
export function workerFileHead(version: string, system: System): string {
  const text = headText(version, system, ROOM);
  const skip = String(Buffer.byteLength(text) + 1);
  return headText(version, system, skip.padEnd(ROOM.length));
}

function headText(version: string, { name, machine }: System, skip: string): string {
  return `#!/bin/sh
# Pilotage ${version} with its Node.js, for ${name} on ${machine}, in one file. 'worker --help' says what it can do.
skip='${skip}'
made_for='${name} ${machine}'
say() { printf 'pilotage: %s\\n' "$1" >&2; }
here="$(uname -s) $(uname -m)"
if [ "$here" != "$made_for" ]; then
  say "this worker file is for $made_for, and this machine is $here: start 'pilotage agent' on a machine like this one, so that it makes a file that fits"
  exit 126
fi
self=$(cd "$(dirname "$0")" && pwd -P)/$(basename "$0")
into=$self.d
if [ ! -e "$into/bin/node" ]; then
  part=$self.$(uname -n).$$.part
  umask 077
  trap 'rm -rf "$part"' EXIT
  trap 'exit 143' TERM INT HUP
  if ! mkdir "$part" || ! tail -c +$skip "$self" | gzip -dc | ( cd "$part" && tar -xf - ); then
    say "'$self' could not unpack itself beside itself: is there room, may you write there, and is the file whole?"
    exit 126
  fi
  if ! "$part/bin/node" --version >/dev/null; then
    say "the Node.js in this worker file does not run on $(uname -n): its C library may be too old, or '$part' lies on a disk from which nothing is run (noexec)"
    exit 126
  fi
  if ! "$part/bin/node" -e 'const [from, to] = process.argv.slice(1); const fs = require("node:fs"); try { fs.renameSync(from, to); } catch (error) { if (!fs.existsSync(to + "/bin/node")) throw error; }' "$part" "$into"; then
    say "'$part' could not be given its name"
    exit 126
  fi
  rm -rf "$part"
  trap - EXIT TERM INT HUP
fi
MALLOC_ARENA_MAX=\${MALLOC_ARENA_MAX:-2}
export MALLOC_ARENA_MAX
unset NODE_OPTIONS
exec "$into/bin/node" --max-semi-space-size=4 "$into/package/dist/main/worker-file-main.js" "$@"
exit 126
`;
}
