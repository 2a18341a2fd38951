"""Attaching actions to records after a run, and running those that are due when asked to; ``docs/actions.md``.

What is run is written into a log beside the store before it is begun, so that what a crash interrupts is known as such
and is not begun again by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from braid_hpc.compaction.compact import compact_statements
from braid_hpc.run.attaching import record_attempt, record_result
from braid_hpc.run.recorder import Run
from braid_hpc.store.due import ActionState, action_states
from braid_hpc.store.executing import TIMEOUT, execute
from braid_hpc.store.runner_lock import hold, is_held
from braid_hpc.store.statements import state as make_statements
from braid_hpc.vocabulary.actions import Invalidated, check_actions
from braid_hpc.vocabulary.errors import InvalidInputError, StorageError
from braid_hpc.vocabulary.payloads import Action, Attempt, Result

if TYPE_CHECKING:
    from braid_hpc.snapshots.files import StoreFiles
    from braid_hpc.store.store import Store

__all__ = ["attach", "run_actions"]


def attach(store: Store, references: Any, given: Any) -> None:
    """Attach actions to records, through a log beside the store.

    Parameters
    ----------
    store : Store
        Goes on to the snapshot that holds it.
    references : str or iterable of str
        The records.
    given : list of str, str, mapping, or list of these
        See :func:`braid_hpc.vocabulary.actions.check_action`.

    Raises
    ------
    NotFoundError, ConflictError, InvalidInputError
        If a reference names nothing or several things, or `given` is no action. Nothing is attached then.
    StorageError
        If it cannot be written.
    """
    check_actions(given)
    texts = [references] if isinstance(references, str) else list(references)
    targets = [f"id:{store.get(text).uid}" for text in texts]
    if not targets:
        raise InvalidInputError("no record is named: give references such as 'data:scan@1'")

    def say(run: Any) -> list[str]:
        before = run.levels["held"]
        for target in targets:
            run.on_invalid(target, given)
        # As many rows as targets at least, and the actions.
        return [target if run.levels["held"] > before + len(targets) else "" for target in targets]

    make_statements(store._files, say)
    store.refresh()


def run_actions(
    store: Store,
    *,
    retry: bool = False,
    dry_run: bool = False,
    timeout: float = TIMEOUT,
    told: Callable[[ActionState], None] | None = None,
) -> list[ActionState]:
    """Run the actions that are due, one after the other, and record what came of each.

    Parameters
    ----------
    store : Store
        Goes on to the snapshot that holds the results.
    retry : bool
        Whether those that failed or were interrupted are run again.
    dry_run : bool
        Only return what would be run.
    timeout : float
        Seconds for an action without a limit of its own.
    told : callable, optional
        Is given each action before it is begun, as ``running``, and when it has ended.

    Returns
    -------
    list of ActionState
        Those that were run, or would be, in order.

    Raises
    ------
    ConflictError
        If another process runs actions of this store.
    InvalidInputError
        If `timeout` is no number of seconds.
    StorageError
        If it cannot be recorded that an action is begun (then it is not), or how one ended.
    """
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
        raise InvalidInputError(f"the timeout is a number of seconds, not {timeout!r}")
    wanted = {"due", "failed", "interrupted"} if retry else {"due"}
    if dry_run:
        # Somebody who runs them now does so without this one's knowledge.
        return [state for state, _ in action_states(store, busy=is_held(store._files)) if state.state in wanted]
    with hold(store._files):
        # Also what a process began that was killed before its log was taken.
        compact_statements(store.path)
        store.refresh()
        found = action_states(store, busy=False)
        chosen = [(state, about) for state, about in found if about is not None and state.state in wanted]
        done = list(_run_all(store._files, chosen, timeout, told)) if chosen else []
        compact_statements(store.path)
        store.refresh()
    return done


def _run_all(
    files: StoreFiles,
    chosen: list[tuple[ActionState, Invalidated]],
    timeout: float,
    told: Callable[[ActionState], None] | None,
) -> Iterator[ActionState]:
    run = Run("actions", log_dir=files.archive, store=files.path, alone=True)
    try:
        for state, about in chosen:
            begun = record_attempt(run, Attempt(state.action, state.id, about.statement))
            if not begun:
                raise StorageError(f"nothing can be written beside {files.path}: {state.what} was not begun")
            # Also over a power cut, where the file system can.
            run.flush("synced")
            if told is not None:
                told(replace(state, state="running"))
            action = Action(state.command, state.entry, state.name, state.timeout)
            ended = _ended(state, execute(action, about, timeout=timeout))
            if not record_result(run, begun, _result(ended)):
                raise StorageError(
                    f"{ended.what} was run on {ended.ref} ({ended.error or 'ok'}), and that cannot be written beside "
                    f"{files.path}: it will be listed as interrupted"
                )
            if told is not None:
                told(ended)
            yield ended
    finally:
        run.close()


def _ended(state: ActionState, result: Result) -> ActionState:
    return replace(
        state,
        state="ok" if result.ok else "failed",
        attempts=state.attempts + 1,
        **{name: getattr(result, name) for name in ("code", "signal", "error", "output", "cut")},
    )


def _result(ended: ActionState) -> Result:
    return Result(ended.state == "ok", ended.code, ended.signal, ended.error, ended.output, ended.cut)
