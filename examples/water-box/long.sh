#!/bin/sh
# A longer run of the same box at one temperature that goes on where it was cut off; writes energy.json.
# usage: long.sh TEMPERATURE [STEPS]
# GROMACS writes state.cpt now and then. Pilotage keeps it (see long.yaml), and puts it back before the next attempt.
set -eu

temperature=${1:?"the temperature in kelvin is missing; usage: long.sh TEMPERATURE [STEPS]"}
steps=${2:-40000}               # of 2 fs
settling=10                     # ps that are not measured
gromacs_log=gromacs.log
export GMX_MAXBACKUP=-1

fail() {
  echo "long.sh: $1" >&2
  exit 1
}

gromacs() {
  gmx -quiet "$@" >>"$gromacs_log" 2>&1 && return
  tail -n 25 "$gromacs_log" >&2
  fail "gmx $1 failed; above is the end of its output"
}

command -v gmx >/dev/null || fail "gmx is not on the PATH of this worker: install GROMACS (Debian, Ubuntu: apt-get install gromacs)"
: >"$gromacs_log"

if [ -n "${PILOTAGE_CHECKPOINT:-}" ]; then
  echo "going on from checkpoint $PILOTAGE_CHECKPOINT"
else
  gromacs solvate -cs spc216.gro -box 1.86206 1.86206 1.86206 -o box.gro
  sed -e "s/@TEMPERATURE@/$temperature/" -e "s/@SEED@/${temperature%%.*}/" -e "s/@STEPS@/$steps/" nvt.mdp.in >nvt.mdp
  gromacs grompp -f nvt.mdp -c box.gro -p topol.top -o nvt.tpr -po full.mdp
fi

# -noappend: each attempt writes files of its own, so that the checkpoint need not hold the half-written ones.
gromacs mdrun -deffnm nvt -cpi state.cpt -cpo state.cpt -cpt 0.02 -noappend -ntmpi 1 -ntomp 1 -pin off

gromacs eneconv -f nvt.part*.edr -o whole.edr
echo Potential | gromacs energy -f whole.edr -b "$settling" -o potential.xvg
potential=$(awk '$1 == "Potential" { print $2 }' "$gromacs_log" | tail -n 1)
[ -n "$potential" ] || fail "gmx energy printed no average"
printf '{"temperature":%s,"potential":%s,"steps":%s}\n' "$temperature" "$potential" "$steps" >energy.json
echo "T = $temperature K: potential energy $potential kJ/mol"
