/** File systems of other machines, by the magic number of statfs(2): SQLite's locks and WAL do not hold on them. */
const NETWORK_FILE_SYSTEMS: Readonly<Record<number, string>> = {
  26985: 'NFS', // 0x6969
  4283649346: 'CIFS', // 0xff534d42
  4266872130: 'SMB2', // 0xfe534d42
  20859: 'SMB', // 0x517b
  1397703499: 'AFS', // 0x5346414f
  12805120: 'Ceph', // 0x00c36400
  198183888: 'Lustre', // 0x0bd00bd0
  1196446803: 'GPFS', // 0x47504653
  428016422: 'BeeGFS', // 0x19830326
  16914839: '9p', // 0x01021997
  1702057286: 'FUSE', // 0x65735546, sshfs among others
};

/** What kind of network file system this is, if it is one. `type` is what statfs(2) says of a path. */
export function networkFileSystem(type: number): string | undefined {
  return NETWORK_FILE_SYSTEMS[type >>> 0];
}
