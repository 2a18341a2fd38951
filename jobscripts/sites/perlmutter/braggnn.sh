#!/bin/bash
#SBATCH --job-name=braggnn
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --time=00:30:00
#SBATCH --account=PROJECT
#SBATCH --constraint=gpu
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out
#SBATCH --qos=debug

# braggnn: 8 ranks on 2 nodes, and their logs brought home.
# By hand, in a directory that all nodes share:
#
#     id=$(sbatch --parsable braggnn.sh)
#     sbatch --dependency=afterany:"$id" --export=ALL,JOB_DIRECTORY="$PWD/braggnn-$id" compact.sh

# ---- where things are

# Shared by all nodes: the output of this job, and what arrives of its logs.
job=${SLURM_SUBMIT_DIR:?is set by sbatch}/braggnn-${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}
# A job that was started again is another attempt of the same job.
attempt=${SLURM_RESTART_COUNT:-0}
part=attempt-$attempt
export BRAID_ATTEMPT=$attempt
arrived=$job/logs/$part
mkdir -p "$arrived" || exit 1
# On each node's own disk or memory: every rank writes its log there.
logs=/tmp/braid-${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}-$part

# ---- what is said of the job, for the summary

trouble() {
    printf '%s\n' "$*" >>"$arrived/trouble.txt"
    printf 'braid: %s\n' "$*" >&2
}

finish() {
    printf '{"exit_code": %d, "time": %d, "near_limit": %s, "cancelled": %s}\n' \
        "$1" "$(date +%s%N)" "${near_limit:-false}" "${cancelled:-false}" >"$arrived/ended.json.new"
    mv "$arrived/ended.json.new" "$arrived/ended.json"
    exit "$1"
}

give_up() {
    trouble "$*: the command was not started"
    finish 1
}

# ---- modules and environment
export OMP_NUM_THREADS=16
# shellcheck source=/dev/null
source "$HOME/braid/bin/activate" || give_up "this line of the setup failed: source \"\$HOME/braid/bin/activate\""
command -v braid >/dev/null || give_up "there is no command braid on $(hostname)"

# ---- the nodes

# One process on each node, beside the ranks.
each_node=(srun --overlap --job-name=braid-ship --nodes="$SLURM_JOB_NUM_NODES"
    --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --cpus-per-task=1 --mpi=none
    --kill-on-bad-exit=0)

# shellcheck disable=SC2016 # filled in on the node
if without=$("${each_node[@]}" sh -c \
    'mkdir -p "$1" 2>/dev/null && [ -w "$1" ] || echo "${SLURMD_NODENAME:-$(hostname)}"' sh "$logs" </dev/null); then
    for node in $without; do
        trouble "node $node: $logs cannot be made there, so all ranks log to the shared directory"
    done
else
    without=all
    trouble "no process could be started on each node, so all ranks log to the shared directory"
fi
if [[ -n $without ]]; then
    logs=$arrived/direct
    mkdir -p "$logs" || give_up "$logs cannot be made"
fi

# What is on the nodes comes to the shared directory every 60 seconds: if a node dies, the rest is what is lost.
shipper=
if [[ $logs != "$arrived/direct" ]]; then
    "${each_node[@]}" braid ship "$logs" --to "$arrived" --bundle --status --every 60 </dev/null &
    shipper=$!
fi

# A node on which nothing was recorded has nothing to ship.
# shellcheck disable=SC2016 # filled in on the node
ship_now() {
    [[ -z $shipper ]] || "${each_node[@]}" sh -c '[ -z "$(ls -A "$0" 2>/dev/null)" ] || exec braid ship "$0" "$@"' \
        "$logs" --to "$arrived" --bundle "$@" </dev/null
}

# ---- the signals

# A signal ends bash's wait, and what has to be waited for is still there.
interrupted=
near_limit=
cancelled=
# shellcheck disable=SC2317 # the traps call it
warned() {
    interrupted=1
    near_limit=true
    echo "braid: the time limit is near, logs are shipped" >&2
    ship_now || trouble "not all logs could be shipped before the time limit"
}
# Everything in the job gets this signal, and no process can be started on a node any more.
# shellcheck disable=SC2317 # the traps call it
ending() {
    interrupted=1
    cancelled=true
}
trap warned USR1
trap ending TERM INT HUP

# ---- the command

export BRAID_RUN_ID=slurm-${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}-$part BRAID_LOG_DIR=$logs
srun --nodes=2 --ntasks=8 --ntasks-per-node=4 --cpus-per-task=16 --cpu-bind=cores python -m braid_hpc.demos.braggnn --dir "$job/work" --logs "$BRAID_LOG_DIR" &
program=$!

code=
while :; do
    interrupted=
    wait "$program"
    now=$?
    # 127: its code was told by the wait before, and the signal came in between.
    [[ $now -eq 127 && -n $code ]] || code=$now
    [[ -n $interrupted && $now -ne 127 ]] || break
done

# ---- the end

if [[ -n $shipper ]]; then
    if [[ -z $cancelled ]]; then
        mine="$SLURM_JOB_ID\|${SLURM_ARRAY_JOB_ID-}_${SLURM_ARRAY_TASK_ID-}"
        steps=$(squeue --noheader --steps --jobs="$SLURM_JOB_ID" --format="%i %j" |
            sed -n "s/^ *\(\($mine\)\.[0-9]*\) *braid-ship *$/\1/p")
        # shellcheck disable=SC2086 # each step is a word of its own
        [[ -z $steps ]] || scancel --signal=TERM $steps
    fi
    while :; do
        interrupted=
        wait "$shipper"
        [[ -n $interrupted ]] || break
    done
    if [[ -z $cancelled ]]; then
        # What arrived whole is removed from the nodes.
        ship_now --status --remove || trouble "not all logs could be shipped; braid ship --job fetches what is left"
    else
        # On this node at least: what the ranks wrote after the signal.
        braid ship "$logs" --to "$arrived" --bundle --status </dev/null
    fi
fi
finish "$code"
