#!/bin/bash
#PBS -N compact
#PBS -l select=1:ncpus=1:mpiprocs=1
#PBS -l walltime=00:30:00
#PBS -r y
#PBS -j oe

# The logs of a job are merged into one store; runs when that job is over, however it ended.
# By hand: the head of the job's own script says how it is submitted.

job=${JOB_DIRECTORY:?names the directory of the job}
# A job that was cancelled before it began has no logs: the summary says so.
mkdir -p "$job/logs" || exit 1

# Modules that are not there end the job itself; its logs are merged all the same.
give_up() {
    printf 'braid: %s\n' "$*" >&2
}

# ---- modules and environment
export OMP_NUM_THREADS=1
if ! command -v braid >/dev/null; then
    echo "the logs are not merged: there is no command braid on $(hostname)" | tee "$job/summary.txt" >&2
    exit 1
fi

# ---- the merge

braid compact "$job/logs" --store "$(dirname "$job")/prov.duckdb" --summary "$job/summary.json"
