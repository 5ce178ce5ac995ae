#!/bin/sh
# A short run of 216 SPC/E waters at one temperature; writes the mean potential energy to energy.json.
# usage: run.sh TEMPERATURE [SEED]
set -eu

steps=${WATER_STEPS:-25000}      # of 2 fs
settling=10                     # ps that are not measured
gromacs_log=gromacs.log

main() {
  temperature=${1:?"the temperature in kelvin is missing; usage: run.sh TEMPERATURE [SEED]"}
  seed=${2:-${temperature%%.*}} # fixed by the temperature: a repeated task gives the same answer
  is_number "$temperature" || fail "the temperature must be a number of kelvin; it is '$temperature'"
  : >"$gromacs_log"
  find_gromacs
  progress 0 "preparing"
  prepare
  progress 0.05 "simulating at $temperature K"
  gromacs mdrun -deffnm nvt -ntmpi 1 -ntomp 1 -pin off -reprod
  progress 0.95 "averaging"
  echo Potential | gromacs energy -f nvt.edr -b "$settling" -o potential.xvg
  write_result
}

find_gromacs() {
  export GMX_MAXBACKUP=-1       # no numbered copies when a task starts over in the same directory
  command -v gmx >/dev/null && return
  fail "gmx is not on the PATH of this worker: install GROMACS (Debian, Ubuntu: apt-get install gromacs)"
}

prepare() {
  # solvate finds spc216.gro among GROMACS' own files; the box it fills is exactly the one shipped.
  gromacs solvate -cs spc216.gro -box 1.86206 1.86206 1.86206 -o box.gro
  sed -e "s/@TEMPERATURE@/$temperature/" -e "s/@SEED@/$seed/" -e "s/@STEPS@/$steps/" nvt.mdp.in >nvt.mdp
  gromacs grompp -f nvt.mdp -c box.gro -p topol.top -o nvt.tpr -po full.mdp
}

write_result() {
  averages=$(awk '$1 == "Potential" { print $2, $3 }' "$gromacs_log" | tail -n 1)
  potential=${averages% *}
  error=${averages#* }
  is_number "$potential" && is_number "$error" || fail "gmx energy printed no average: '$averages'"
  printf '{"temperature":%s,"seed":%s,"potential":%s,"error":%s,"molecules":216,"steps":%s,"settlingPicoseconds":%s}\n' \
    "$temperature" "$seed" "$potential" "$error" "$steps" "$settling" >energy.json
  echo "T = $temperature K: potential energy $potential +- $error kJ/mol"
}

gromacs() {
  gmx -quiet "$@" >>"$gromacs_log" 2>&1 && return
  tail -n 25 "$gromacs_log" >&2
  fail "gmx $1 failed; above is the end of its output"
}

progress() {
  [ -z "${PILOTAGE_PROGRESS_FILE:-}" ] || printf '{"fraction":%s,"message":"%s"}\n' "$1" "$2" >>"$PILOTAGE_PROGRESS_FILE"
}

is_number() { printf '%s' "$1" | grep -Eq '^-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?$'; }

fail() {
  echo "run.sh: $1" >&2
  exit 1
}

main "$@"
