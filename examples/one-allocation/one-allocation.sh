#!/bin/sh
# Server, workers and your program inside one allocation of Slurm, for clusters whose nodes reach nobody outside.
#
#   sbatch --nodes=2 --cpus-per-task=16 --mem=32G --time=4:00:00 one-allocation.sh ./my-sweep.sh
#
# Your program submits and waits as anywhere ('pilotage submit ... --wait'): it finds the server by itself. When it ends,
# or two minutes before the end of the time, workers and server end in order, and what the server knows is kept in
# PILOTAGE_KEEP (./pilotage-data unless set). Submit the same again, and it goes on from there.
#
#SBATCH --job-name=pilotage
#SBATCH --ntasks-per-node=1
#SBATCH --signal=B:USR1@120
set -u
[ $# -gt 0 ] || { echo "usage: sbatch [OPTIONS] one-allocation.sh PROGRAM [ARGUMENTS...]" >&2; exit 2; }
pilotage=${PILOTAGE:-pilotage}
keep=${PILOTAGE_KEEP:-$PWD/pilotage-data}
cpus=${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-1}}
umask 077

# The database needs a disk of the node itself; what other nodes have to know lies on the shared one for as long.
local=$(mktemp -d "${TMPDIR:-/tmp}/pilotage-allocation-XXXXXX") || exit 125
shared=$(mktemp -d "$PWD/.pilotage-allocation-XXXXXX") || exit 125
[ ! -d "$keep" ] || cp -R "$keep/." "$local" || exit 125
export PILOTAGE_DATA="$local"

server= workers= program= code=125
# From a copy beside it, so that a copy that breaks off costs nothing.
keep_data() {
  rm -rf "$keep.new" && cp -R "$local" "$keep.new" || return 1
  rm -rf "$keep.old"
  [ ! -d "$keep" ] || mv "$keep" "$keep.old"
  mv "$keep.new" "$keep" && rm -rf "$keep.old"
}
finish() {
  trap '' USR1 TERM INT
  for process in $program $workers; do kill -TERM "$process" 2>/dev/null; done
  for process in $program $workers; do wait "$process" 2>/dev/null; done
  [ -z "$server" ] || { kill -TERM "$server" 2>/dev/null; wait "$server"; }
  keep_data || echo "what the server knew could not be kept in '$keep': it is in '$local' on $(uname -n)" >&2
  [ ! -e "$keep/admin-token" ] || rm -rf "$local"
  rm -rf "$shared"
  exit "$code"
}
trap 'code=143; finish' USR1 TERM INT

# Other nodes speak to it, so it speaks TLS; they pin its certificate by the fingerprint.
"$pilotage" serve --data "$local" --listen 0.0.0.0:0 --tls-self-made >"$local/server.log" 2>&1 &
server=$!
for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  "$pilotage" status >/dev/null 2>&1 && break
  kill -0 "$server" 2>/dev/null || { cat "$local/server.log" >&2; server=; finish; }
  sleep 1
done
cp "$local/admin-token" "$shared/token" || finish
port=$(sed -n 's/.*"url": *"[^"]*:\([0-9]*\)".*/\1/p' "$local/server.json")
fingerprint=$(sed -n 's/.*"fingerprint": *"\([^"]*\)".*/\1/p' "$local/server.json")

# One worker on each node of the allocation. They need nothing of this shell's environment that names the server.
srun --overlap --ntasks-per-node=1 --cpus-per-task="$cpus" env -u PILOTAGE_DATA "$pilotage" worker \
  --server "https://$(hostname):$port" --fingerprint "$fingerprint" --token-file "$shared/token" --slots "$cpus" &
workers=$!

"$@" &
program=$!
wait "$program"
code=$?
program=
finish
