#!/bin/bash@LOGIN@
@DIRECTIVES@

# Logs of @NAME@ that stayed on node @NODE@ are brought home; the merge of its logs comes after it.
# Written by braid ship --job.

logs=@LOGS@
arrived=@ARRIVED@

give_up() {
    printf 'node %s: %s: its logs did not come home\n' @NODE@ "$*" >>"$arrived/trouble.txt"
    printf 'braid: %s\n' "$*" >&2
    exit 1
}

# ---- modules and environment
@ENVIRONMENT@
command -v braid >/dev/null || give_up "there is no command braid on $(hostname)"

# ---- what is left

if [[ ! -d $logs ]]; then
    give_up "there is no $logs on $(hostname) any more"
fi
braid ship "$logs" --to "$arrived" --bundle --status --remove --node @NODE@ || give_up "not all of $logs could be shipped"
