/** Packing and unpacking on a machine where nothing is installed for us: several ways are tried. */
import { PilotageError } from '../../../ground/base/errors.ts';
import { quote } from '../../transport/quote.ts';
import type { Transport } from '../../transport/transport.ts';
import type { JobballFormat } from './pack-jobball.ts';

type Runner = Pick<Transport, 'run' | 'machine'>;

/** Links and permissions are kept, which Python's own zip commands do not. */
const PYTHON_UNZIP = `
import os, stat, sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
for entry in archive.infolist():
    mode = entry.external_attr >> 16
    target = os.path.join(sys.argv[2], entry.filename)
    if stat.S_ISLNK(mode):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.symlink(archive.read(entry), os.fsencode(target))
    else:
        archive.extract(entry, sys.argv[2])
        if mode & 0o777 and not entry.filename.endswith('/'): os.chmod(target, mode & 0o777)
`;
const PYTHON_ZIP = `
import os, stat, sys, zipfile
names = [os.fsdecode(name) for name in open(sys.argv[2], 'rb').read().split(b'\\0') if name]
with zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
    for name in names:
        mode = os.lstat(name).st_mode
        if stat.S_ISLNK(mode):
            entry = zipfile.ZipInfo(name)
            entry.create_system = 3
            entry.external_attr = mode << 16
            archive.writestr(entry, os.fsencode(os.readlink(name)))
        else:
            archive.write(name)
`;

interface Way {
  readonly needs: string;
  readonly command: string;
  /** In names it takes only what every locale has, in lists of names only lines. */
  readonly isForPlainNames?: true;
}

const UNPACK: Readonly<Record<JobballFormat, readonly Way[]>> = {
  zip: [
    { needs: 'unzip', command: 'unzip -q -o "$archive" -d "$to"', isForPlainNames: true },
    { needs: 'python3', command: `python3 -c ${quote(PYTHON_UNZIP)} "$archive" "$to"` },
    { needs: 'bsdtar', command: 'bsdtar -xf "$archive" -C "$to"' },
  ],
  tar: [
    { needs: 'tar', command: 'tar -xzf "$archive" -C "$to"' },
    { needs: 'bsdtar', command: 'bsdtar -xzf "$archive" -C "$to"' },
  ],
};
const LINES = 'tr "\\000" "\\n" <"$names"';
const PACK: Readonly<Record<JobballFormat, readonly Way[]>> = {
  zip: [
    { needs: 'zip', command: `${LINES} | zip -q -y "$archive" -@`, isForPlainNames: true },
    { needs: 'python3', command: `python3 -c ${quote(PYTHON_ZIP)} "$archive" "$names"` },
    { needs: 'bsdtar', command: 'bsdtar --format zip -cf "$archive" -n --null -T "$names"' },
  ],
  tar: [
    { needs: 'tar', command: 'tar -czf "$archive" --no-recursion --null -T "$names"' },
    { needs: 'bsdtar', command: 'bsdtar -czf "$archive" -n --null -T "$names"' },
    {
      needs: 'tar',
      command: `${LINES} >"$names.lines" && tar -czf "$archive" -T "$names.lines"`,
      isForPlainNames: true,
    },
  ],
};

/** What a machine has to pack and unpack with. Rejects when it has nothing. */
export interface Archiver {
  /** A zip where names allow it there, else a tar. */
  formatFor(names: readonly string[]): JobballFormat;
}

export async function findArchiver(machine: Runner): Promise<Archiver> {
  const programs = [...new Set([...Object.values(UNPACK), ...Object.values(PACK)].flat().map(({ needs }) => needs))];
  const { stdout } = await machine.run(
    `for one in ${programs.join(' ')}; do command -v $one >/dev/null 2>&1 && echo $one; done; true`,
    { timeoutMs: 30_000 },
  );
  const there = new Set(stdout.split('\n'));
  const can = (format: JobballFormat, isPlain: boolean): boolean =>
    [UNPACK[format], PACK[format]].every((ways) => usable(ways, isPlain).some(({ needs }) => there.has(needs)));
  if (!can('zip', true) && !can('tar', true)) {
    throw new PilotageError(
      'not-found',
      `'${machine.machine}' has nothing to pack and unpack archives with: install zip and unzip there, or tar, or Python 3`,
    );
  }
  return {
    formatFor(names) {
      const isPlain = names.every(isPlainName);
      return can('zip', isPlain) || !can('tar', isPlain) ? 'zip' : 'tar';
    },
  };
}

/** A script that unpacks `archive`, in which there are these names, into the directory `to`, which it makes. */
export function unpackScript(
  { archive, to, names }: { readonly archive: string; readonly to: string; readonly names: readonly string[] },
  format: JobballFormat,
): string {
  return `archive=${quote(archive)}; to=${quote(to)}
mkdir -p "$to" || exit 1
${firstOf(UNPACK[format], names)}
`;
}

/** A script that packs these names from below `directory`; they lie in the file `list`, each ended by a zero byte. */
export function packScript(
  packed: {
    readonly directory: string;
    readonly list: string;
    readonly archive: string;
    readonly names: readonly string[];
  },
  format: JobballFormat,
): string {
  return `archive=${quote(packed.archive)}; names=${quote(packed.list)}
cd ${quote(packed.directory)} || exit 1
rm -f "$archive"
${firstOf(PACK[format], packed.names)}
`;
}

function usable(ways: readonly Way[], isPlain: boolean): readonly Way[] {
  return ways.filter((way) => isPlain || !way.isForPlainNames);
}

function isPlainName(name: string): boolean {
  return /^[\x20-\x7e]*$/.test(name);
}

function firstOf(ways: readonly Way[], names: readonly string[]): string {
  const tries = usable(ways, names.every(isPlainName)).map(
    ({ needs, command }) => `command -v ${needs} >/dev/null 2>&1 && { { ${command}; } && exit 0; }`,
  );
  return `${tries.join('\n')}\nexit 1`;
}
