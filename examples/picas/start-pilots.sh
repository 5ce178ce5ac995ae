#!/bin/sh
# Starts a PiCaS pilot through Slurm if there are tokens to do, as PiCaS' autopilot does. Meant for cron: each call starts at most one.
#
#   start-pilots.sh PICASCONFIG PILOT_SCRIPT [CORES [DESIGN [VIEW]]]
#
# PILOT_SCRIPT is given to sbatch and finds DESIGN_DOC and VIEW in its environment. Options for Slurm beyond the cores
# stand in its #SBATCH lines.
set -eu

config=$1
pilot=$2
cores=${3:-1}
design=${4:-Monitor}
view=${5:-todo}

setting() { sed -n "s/^$1 *= *[\"']\(.*\)[\"'] *\$/\1/p" "$config"; }

# The password goes to curl by its standard input: arguments can be read by everybody on the machine.
rows=$(printf 'user = "%s:%s"\n' "$(setting PICAS_USERNAME)" "$(setting PICAS_PASSWORD)" |
  curl --silent --show-error --fail --config - \
    "$(setting PICAS_HOST_URL)/$(setting PICAS_DATABASE)/_design/$design/_view/$view?limit=1")

case $rows in
  *'"rows":[]'*) exit 0 ;;
esac
exec sbatch --cpus-per-task="$cores" --export=ALL,DESIGN_DOC="$design",VIEW="$view" "$pilot"
