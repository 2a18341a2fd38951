#!/bin/bash@LOGIN@
@DIRECTIVES@

# The logs of @NAME@ are merged into one store; runs when that job is over, however it ended.
@HOW@

job=@JOB@
# A job that was cancelled before it began has no logs: the summary says so.
mkdir -p "$job/logs" || exit 1

# Modules that are not there end the job itself; its logs are merged all the same.
give_up() {
    printf 'braid: %s\n' "$*" >&2
}

# ---- modules and environment
@ENVIRONMENT@
if ! command -v braid >/dev/null; then
    echo "the logs are not merged: there is no command braid on $(hostname)" | tee "$job/summary.txt" >&2
    exit 1
fi

# ---- the merge

@LAUNCH@ compact "$job/logs" --store @STORE@ --summary "$job/summary.json"
