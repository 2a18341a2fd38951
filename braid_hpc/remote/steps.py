"""What the functions of :mod:`braid_hpc.remote.functions` do: check everything, and then record it.

They raise, as calls that answer do: a flow must hear of a step that was not recorded. What is refused leaves nothing
in the log.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from braid_hpc.remote.definitions import Defined, check_name, check_texts, defined, plain_tags
from braid_hpc.remote.ids import check_known, find_ids, remember
from braid_hpc.remote.place import place_of_logs, run_of_process
from braid_hpc.run.guard import disabled
from braid_hpc.run.handles import Record
from braid_hpc.run.recorder import Run
from braid_hpc.vocabulary.actions import check_action
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.errors import InvalidInputError, StorageError

__all__ = ["attach_action", "record_action", "record_all", "record_step", "record_transfer"]

_STEP = "flow_state_record_id"
_INPUTS, _OUTPUTS, _ACTION = "input_record_ids", "output_record_ids", "invalidation_action_id"


class _Recorder:
    """Writes what was checked, and says so if it could not be written."""

    def __init__(self) -> None:
        self._run: Run | None = None if disabled() else run_of_process()
        self._place: Path = place_of_logs()

    def record(self, what: Defined, parents: list[Record]) -> Record:
        if self._run is None:
            return Record(bytes(16), 0)
        made = self._run.record(what.kind, what.name, uri=what.uris or None, tags=what.tags, derived_from=parents)
        return self._kept(made, Code.DECLARE)

    def action(self, given: dict[str, Any]) -> Record:
        return Record(bytes(16), 0) if self._run is None else self._kept(self._run.action(given), Code.ACTION)

    def derive(self, child: Record, parent: Record) -> None:
        if self._run is not None:
            self._run.derive(child, parent)

    def attach(self, record: Record, action: Record) -> None:
        if self._run is not None:
            self._run.on_invalid(record, action)

    def _kept(self, made: Record, code: Code) -> Record:
        if not made:
            raise StorageError(f"nothing can be recorded in {self._place}: see that there is room, and repeat the step")
        remember(self._place, made, code)
        return made


def _token(record: Record) -> str | None:
    """Return an id; None where recording is off, which the next step takes too."""
    return record.token if record else None


def _tokens(records: list[Record]) -> list[str | None]:
    return [_token(record) for record in records]


def record_step(
    step_name: Any,
    *,
    tags: Any = None,
    step_result: Any = None,
    previous_step_output: Any = None,
    other_predecessor_record_ids: Any = None,
    input_record_ids: Any = None,
    inputs_from_referenced_outputs: bool = False,
    output_record_ids: Any = None,
    outputs_from_referenced_inputs: bool = False,
    input_record_defs: Any = None,
    output_record_defs: Any = None,
    uris: Any = None,
) -> dict[str, Any]:
    """Record a step of a flow: predecessors and inputs lead to it, and it leads to its outputs.

    Parameters
    ----------
    step_name : str
        The record is ``step:<step_name>``.
    tags : mapping, optional
        Nested ones become dotted keys. ``status`` is added, from `step_result`.
    step_result : object, optional
        What the step returned; of a mapping its ``status``.
    previous_step_output, other_predecessor_record_ids : id, list, or what a step returned, optional
        What came before.
    input_record_ids, output_record_ids : id, list, or what a step returned, optional
        Records that are there already.
    inputs_from_referenced_outputs, outputs_from_referenced_inputs : bool
        Whether inputs are what the step that they are taken from gave as its outputs, and the other way round.
    input_record_defs, output_record_defs : mapping or list of mappings, optional
        Records to be declared: ``name``, ``uris``, ``tags``, ``kind``.
    uris : str or list of str, optional
        Of the step.

    Returns
    -------
    dict
        ``flow_state_record_id``, ``input_record_ids``, ``output_record_ids`` (ids), and ``exception_str``, which is
        None: what goes wrong is raised.

    Raises
    ------
    InvalidInputError
        If something is not what it should be. Nothing is recorded then, nor is it in the next case.
    NotFoundError
        If the log of an id is in ``BRAID_LOG_DIR`` and does not hold it.
    StorageError
        If it cannot be written.
    """
    earlier = find_ids("previous_step_output", previous_step_output, _STEP)
    earlier += find_ids("other_predecessor_record_ids", other_predecessor_record_ids, _STEP)
    inputs = find_ids(_INPUTS, input_record_ids, _OUTPUTS if inputs_from_referenced_outputs else _INPUTS)
    outputs = find_ids(_OUTPUTS, output_record_ids, _INPUTS if outputs_from_referenced_inputs else _OUTPUTS)
    flat = plain_tags("tags", tags) or {}
    flat["status"] = _status(step_result)
    step = Defined("step", check_name("a step", step_name), check_texts("uris", uris), flat)
    new_inputs = defined("input_record_defs", input_record_defs)
    new_outputs = defined("output_record_defs", output_record_defs, made=True)
    check_known(place_of_logs(), [*earlier, *inputs, *outputs], Code.DECLARE)

    out = _Recorder()
    inputs += [out.record(each, []) for each in new_inputs]
    made = out.record(step, list(dict.fromkeys([*earlier, *inputs])))
    for each in outputs:
        out.derive(each, made)
    outputs += [out.record(each, [made]) for each in new_outputs]
    return {_STEP: _token(made), _INPUTS: _tokens(inputs), _OUTPUTS: _tokens(outputs), "exception_str": None}


def _status(result: Any) -> str:
    if result is None:
        return "Not Provided"
    if isinstance(result, dict):
        return str(result.get("status", "Not Present in Step Results"))
    return str(result)


def record_transfer(
    previous_step_record_id: Any = None, *, transfer_input: Any = None, transfer_result: Any = None
) -> dict[str, Any]:
    """Record a transfer: its sources and what came before lead to it, and it leads to its destinations.

    Parameters
    ----------
    previous_step_record_id : id, list, or what a step returned, optional
        What came before.
    transfer_input : mapping
        ``source_endpoint_id``, ``destination_endpoint_id`` and ``transfer_items``, each with ``source_path`` and
        ``destination_path``.
    transfer_result : mapping
        ``status``, and in ``details`` the ``task_id``.

    Returns
    -------
    dict
        ``flow_state_record_id``, ``input_record_ids`` (sources) and ``output_record_ids`` (destinations).

    Raises
    ------
    InvalidInputError, NotFoundError, StorageError
        As :func:`record_step`.
    """
    earlier = find_ids("previous_step_record_id", previous_step_record_id, _STEP)
    asked, result = _mapping("transfer_input", transfer_input), _mapping("transfer_result", transfer_result)
    source = check_name("source_endpoint_id", asked.get("source_endpoint_id"))
    target = check_name("destination_endpoint_id", asked.get("destination_endpoint_id"))
    task = check_name("task_id", _mapping("details", result.get("details")).get("task_id"))
    items = asked.get("transfer_items")
    if not isinstance(items, (list, tuple)):
        raise InvalidInputError(f"transfer_items: a list is wanted, not {items!r}")
    pairs = [_mapping(f"transfer_items[{at}]", item) for at, item in enumerate(items)]
    sources = [_file(source, pair.get("source_path")) for pair in pairs]
    targets = [_file(target, pair.get("destination_path")) for pair in pairs]
    about = Defined(
        "transfer",
        f"Globus Transfer task {task}",
        [f"https://app.globus.org/activity/{task}/overview"],
        {"status": _status(result)},
    )
    check_known(place_of_logs(), earlier, Code.DECLARE)

    out = _Recorder()
    inputs = [out.record(each, []) for each in sources]
    made = out.record(about, [*earlier, *inputs])
    outputs = [out.record(each, [made]) for each in targets]
    return {_STEP: _token(made), _INPUTS: _tokens(inputs), _OUTPUTS: _tokens(outputs)}


def _mapping(what: str, given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise InvalidInputError(f"{what}: a mapping is wanted, not {given!r}")
    return given


def _file(endpoint: str, path: Any) -> Defined:
    name = f"{endpoint}:{check_name('a path', path)}"
    return Defined("data", name, [f"globustransfer://{endpoint}/{path}"], None)


def record_action(
    name: Any = "Not Provided", *, action_type: Any = "shell", command: Any = None, params: Any = None
) -> dict[str, Any]:
    """Describe what may be done when a record turns out not to hold.

    Parameters
    ----------
    name : str
        What people call it.
    action_type : str
        ``shell``, the name of Braid for a command. It is never given to a shell.
    command : str
        The program.
    params : list of str, optional
        Its arguments; placeholders as for :func:`braid_hpc.vocabulary.actions.check_action`.

    Returns
    -------
    dict
        ``invalidation_action_id``.

    Raises
    ------
    InvalidInputError
        If it is no command, or a placeholder is not known.
    StorageError
        If it cannot be written.
    """
    if action_type != "shell":
        raise InvalidInputError(f"action_type: there is 'shell' (a command), and not {action_type!r}")
    if params is not None and not isinstance(params, (list, tuple)):
        raise InvalidInputError(f"params: a list of texts is wanted, not {params!r}")
    given = {"command": [check_name("command", command), *(params or [])], "name": check_name("an action", name)}
    check_action(given)
    return {_ACTION: _token(_Recorder().action(given))}


def attach_action(record_id: Any = None, invalidation_action_id: Any = None) -> dict[str, Any]:
    """Attach an action to a record; ``braid actions run`` runs it when the record does not hold any more.

    Parameters
    ----------
    record_id, invalidation_action_id : id, or what a step returned
        One of each.

    Returns
    -------
    dict
        ``invalidation_action_id`` and ``flow_state_record_id``.

    Raises
    ------
    InvalidInputError, NotFoundError, StorageError
        As :func:`record_step`.
    """
    records = find_ids("record_id", record_id, _STEP)
    actions = find_ids(_ACTION, invalidation_action_id, _ACTION)
    if len(records) != 1 or len(actions) != 1:
        raise InvalidInputError(
            f"one record and one action are wanted, not {record_id!r} and {invalidation_action_id!r}"
        )
    check_known(place_of_logs(), records, Code.DECLARE)
    check_known(place_of_logs(), actions, Code.ACTION)
    _Recorder().attach(records[0], actions[0])
    return {_ACTION: _token(actions[0]), _STEP: _token(records[0])}


def record_all(record_dicts: Any = None, *further: Any) -> list[dict[str, Any]]:
    """Record records, and what came of them, to any depth.

    Parameters
    ----------
    record_dicts : mapping or list of mappings
        ``name``, ``uris``, ``tags``, ``kind``, ``derived_from_record_id`` and ``derivations``, a list of such.
    *further : mapping
        More of them.

    Returns
    -------
    list of dict
        For each ``record_id``, ``name``, ``uris``, ``tags`` and ``derivations``.

    Raises
    ------
    InvalidInputError, NotFoundError, StorageError
        As :func:`record_step`.
    """
    records = defined("record_dicts", record_dicts, nested=True) + defined("args", list(further), nested=True)
    check_known(place_of_logs(), _parents(records), Code.DECLARE)
    out = _Recorder()
    return [_record_tree(out, each, []) for each in records]


def _parents(records: list[Defined]) -> list[Record]:
    return [parent for each in records for parent in (*each.parents, *_parents(each.derivations))]


def _record_tree(out: _Recorder, what: Defined, above: list[Record]) -> dict[str, Any]:
    made = out.record(what, [*above, *what.parents])
    return {
        "record_id": _token(made),
        "name": what.name,
        "uris": what.uris,
        "tags": what.tags or {},
        "derivations": [_record_tree(out, each, [made]) for each in what.derivations],
    }
