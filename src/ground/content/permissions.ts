/**
 * The permission bits of files and directories as they travel: three octal digits, and nothing where they are the usual
 * ones (644, 755 for what can be executed and for directories). Setuid, setgid and sticky bits stay behind.
 */
export interface FilePermissions {
  readonly executable?: boolean | undefined;
  readonly permissions?: string | undefined;
}

/** As `chmod` writes them: three octal digits. */
export const PERMISSIONS_PATTERN = '^[0-7]{3}$';

const PERMISSION_BITS = 0o777;
const EXECUTABLE_BITS = 0o111;
const [FILE, EXECUTABLE, DIRECTORY] = [0o644, 0o755, 0o755];

export function isExecutableMode(mode: number): boolean {
  return (mode & EXECUTABLE_BITS) !== 0;
}

export function filePermissions(mode: number): { readonly executable?: true; readonly permissions?: string } {
  const executable = isExecutableMode(mode);
  return { ...(executable ? { executable } : {}), ...unless(executable ? EXECUTABLE : FILE, mode) };
}

export function directoryPermissions(mode: number): { readonly permissions?: string } {
  return unless(DIRECTORY, mode);
}

/** What `chmod` is to set. */
export function fileMode({ executable, permissions }: FilePermissions): number {
  return parsed(permissions) ?? (executable ? EXECUTABLE : FILE);
}

export function directoryMode({ permissions }: { readonly permissions?: string | undefined }): number {
  return parsed(permissions) ?? DIRECTORY;
}

/** The parts of a file's description that say how it may be used, to be passed on. */
export function permissionsOf({ executable, permissions }: FilePermissions): {
  readonly executable?: true;
  readonly permissions?: string;
} {
  return { ...(executable ? { executable } : {}), ...(permissions === undefined ? {} : { permissions }) };
}

function unless(usual: number, mode: number): { readonly permissions?: string } {
  const bits = mode & PERMISSION_BITS;
  return bits === usual ? {} : { permissions: bits.toString(8).padStart(3, '0') };
}

function parsed(permissions: string | undefined): number | undefined {
  return permissions === undefined ? undefined : Number.parseInt(permissions, 8);
}
