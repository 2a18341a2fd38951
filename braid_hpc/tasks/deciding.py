"""Whether a call runs: by the done index alone, and by a look at what was written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.results.written import Found
from braid_hpc.run.guard import tell
from braid_hpc.tasks.done_index import DoneIndex, newest_done
from braid_hpc.tasks.states import Reason, State
from braid_hpc.vocabulary.errors import BraidError, CorruptLogError
from braid_hpc.vocabulary.task_payloads import Done

if TYPE_CHECKING:
    from braid_hpc.results.result import Target

__all__ = ["Decision", "decide", "index_of", "judge", "other_code"]

#: Indexes by store and run: a run sees what was done when it first asked.
_INDEXES: dict[tuple[str, bytes], DoneIndex | None] = {}
_told: set[str] = set()

_BECAUSE = {
    State.FAILED: Reason.FAILED,
    State.RUNNING: Reason.RUNNING,
    State.INVALID: Reason.INVALID,
    State.INTERRUPTED: Reason.INTERRUPTED,
    State.UNRECORDED: Reason.UNRECORDED,
}


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done about a call.

    Attributes
    ----------
    done : Done or None
        The execution whose result is taken; None if the call runs.
    reason : Reason or None
        Why it runs.
    detail : str
        More of it.
    """

    done: Done | None = None
    reason: Reason | None = None
    detail: str = ""


def index_of(run: Any) -> DoneIndex | None:
    """Return the done index that a run asks.

    Parameters
    ----------
    run : Run
        That of its ``store=``, else of ``BRAID_STORE``. It is looked for once for each run.

    Returns
    -------
    DoneIndex or None
        None where no store is named, or it has none; or where it cannot be read, which is told.
    """
    store = (run._log.header.get("store") if run else None) or os.environ.get("BRAID_STORE")
    if not store:
        return None
    place = str(Path(store).absolute()), bytes(run.writer)
    if place not in _INDEXES:
        _INDEXES[place] = _open(store)
    return _INDEXES[place]


def _open(store: Any) -> DoneIndex | None:
    # A compaction may replace one by the next while it is looked up.
    for _ in range(3):
        if (path := newest_done(store)) is None:
            return None
        try:
            return DoneIndex(path)
        except FileNotFoundError:
            continue
        except (OSError, BraidError) as error:
            tell_once(f"tasks run that may be done: {error}")
            return None
    return None


def tell_once(message: str, *, about: str = "") -> None:
    """Tell something once in this process.

    Parameters
    ----------
    message : str
        One sentence.
    about : str
        What is told of once, whatever the message says of it; by default the message.
    """
    if (about or message) not in _told:
        _told.add(about or message)
        tell(message)


def decide(
    index: DoneIndex | None, key: bytes, *, code: str | None, keep: bool, target: Target | None, verify: Any, task: str
) -> Decision:
    """Decide whether a call runs.

    Parameters
    ----------
    index : DoneIndex or None
        What is done.
    key : bytes
        Of the call.
    code : str or None
        Digest of the function's source.
    keep : bool
        Whether a result of other source is taken.
    target : Target or None
        Where it writes.
    verify : str
        How closely what was written is looked at.
    task : str
        Its name.

    Returns
    -------
    Decision
        With the execution whose result is taken, or why the call runs.
    """
    if index is None:
        return Decision(reason=Reason.NO_INDEX)
    try:
        found = index.find(key)
    except CorruptLogError as error:
        tell_once(str(error))
        return Decision(reason=Reason.DAMAGED, detail=str(error))
    if found is None:
        return Decision(reason=Reason.NEW)
    state, done = found
    if state in _BECAUSE:
        return Decision(reason=_BECAUSE[state], detail=done.cause)
    return judge(done, code=code, keep=keep, target=target, verify=verify, task=task)


def judge(done: Done, *, code: str | None, keep: bool, target: Target | None, verify: Any, task: str) -> Decision:
    """Decide whether the result of an execution that is done is taken.

    Parameters
    ----------
    done : Done
        What is on record of it.
    code, keep, target, verify, task
        As for :func:`decide`.

    Returns
    -------
    Decision
        As from there.
    """
    detail = ""
    if other_code(done.code, code):
        said = f"the code of {task} changed, and its version {done.version} did not"
        if not keep:
            tell_once(f"{said}: it runs again; give it another version, or code='keep' to take what the old code made")
            return Decision(reason=Reason.CODE, detail=said)
        tell_once(f"{said}: what the old code made is taken, as code='keep' says")
        detail = said
    if target is None:
        if done.output is not None:
            return Decision(reason=Reason.ELSEWHERE, detail=f"it was written to {done.output.uri}, and is not now")
        return Decision(done=done, detail=detail) if done.value is not None else Decision(reason=Reason.UNRECORDED)
    if done.output is None:
        return Decision(reason=Reason.ELSEWHERE, detail=f"it was not written to {target.uri}")
    if done.output.uri != target.uri:
        return Decision(reason=Reason.ELSEWHERE, detail=f"it was written to {done.output.uri}, not to {target.uri}")
    out = done.output
    found = target.found(size=out.size, mtime_ns=out.mtime_ns, digest=out.digest, verify=verify)
    if found is Found.AS_RECORDED:
        return Decision(done=done, detail=detail)
    if found is Found.MISSING:
        return Decision(reason=Reason.MISSING, detail=f"{target.uri} is not there any more")
    return Decision(reason=Reason.CHANGED, detail=f"{target.uri} is not what was written there")


def other_code(was: str | None, now: str | None) -> bool:
    """Return whether two digests are of other source; those of source and of bytecode say nothing of each other.

    Parameters
    ----------
    was, now : str or None
        Digests of a function's source; None where one is not known.

    Returns
    -------
    bool
        False where it is not known.
    """
    if was is None or now is None:
        return False
    return was != now and was.rpartition(":")[0] == now.rpartition(":")[0]
