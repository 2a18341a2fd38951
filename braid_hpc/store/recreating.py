"""From an execution on record back to the call: the function by its name, and arguments by their forms."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.run.handles import Record
from braid_hpc.tasks.classes import INPUTS, Runner, task_of
from braid_hpc.tasks.forms import file_digest
from braid_hpc.tasks.naming import SCRIPT_MODULE
from braid_hpc.tasks.states import Role
from braid_hpc.tasks.task import Task
from braid_hpc.tasks.values import build_value
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from braid_hpc.store.tasks import StoredParameter, StoredTask

__all__ = ["Call", "recreate"]


class Call:
    """A call that was made again of what is on record of it.

    Attributes
    ----------
    task : Task
        The function, as it is now.
    arguments : dict
        By name.
    key : bytes
        What the call is identified by now.
    """

    def __init__(self, task: Task, arguments: dict[str, Any], key: bytes) -> None:
        self.task, self.arguments, self.key = task, arguments, key
        requires = INPUTS in task.identity.signature.parameters
        self._made = getattr(task.function, "__wrapped__", None) if requires else None
        call = inspect.BoundArguments(task.identity.signature, OrderedDict(arguments))
        self._args, self._kwargs = call.args, call.kwargs

    def run(self, *, rerun: bool = True) -> Any:
        """Run it.

        Parameters
        ----------
        rerun : bool
            Also if it is done.

        Returns
        -------
        object
            What the function returns.
        """
        task = self.task.with_options(rerun=rerun)
        if isinstance(self._made, type):
            # What it requires is run too, unless that is done.
            return task(**self.arguments, **{INPUTS: self._made(**self.arguments).input()})
        return task(*self._args, **self._kwargs)

    def __repr__(self) -> str:
        """Return the call as one would write it."""
        said = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.task.name}({said})"


def recreate(stored: StoredTask, *, force: bool) -> Call:
    """Make a call again.

    Parameters
    ----------
    stored : StoredTask
        An execution.
    force : bool
        Also where its key or its code is another one now.

    Returns
    -------
    Call
        Not run yet.

    Raises
    ------
    NotFoundError, ConflictError, InvalidInputError
        As :meth:`braid_hpc.store.tasks.StoredTask.call`.
    """
    task = _find(stored)
    names = task.identity.signature.parameters
    arguments = {}
    required = None
    for each in stored.parameters:
        if each.role == "inherited":
            continue
        if each.name == INPUTS and isinstance(task.function, Runner):
            required = each
            continue
        if each.name not in names:
            raise ConflictError(f"{stored.task} has no parameter {each.name} any more: its function changed")
        if each.role != "ignored" or _buildable(each):
            arguments[each.name] = _argument(stored.task, each)
        elif names[each.name].default is inspect.Parameter.empty:
            raise InvalidInputError(
                f"{stored.task}: of its argument {each.name}, which does not count, no value is on record"
            )
    key = _key(task, arguments, required)
    if not force and key.hex() != stored.key:
        raise ConflictError(
            f"{stored.task} is not what it was: this call has the key {key.hex()[:12]} now, and had {stored.key[:12]} "
            f"(version {task.version}, and was {stored.version}); with --force it runs as it is now"
        )
    if not force and task.identity.code != stored.code:
        raise ConflictError(
            f"the code of {stored.task} changed since, and its version {task.version} did not: with --force it runs "
            "as it is now"
        )
    return Call(task, arguments, key)


def _key(task: Task, arguments: dict[str, Any], required: StoredParameter | None) -> bytes:
    """Return the key of a call; what it was given by those that it requires is taken as it was."""
    call = inspect.BoundArguments(task.identity.signature, OrderedDict(arguments))
    if required is None:
        return task.key_of(*call.args, **call.kwargs)
    if isinstance(required.form, list) and required.form[0] == "digest":
        raise InvalidInputError(f"{task.name}: what it was given by those that it requires is on record by its digest")
    bound = task._bind(call.args, call.kwargs)
    counted = (Role.GIVEN, Role.DEFAULT)
    forms = [(each.name, each.form) for each in bound.parameters if each.role in counted and each.name != INPUTS]
    return task.identity.key([*forms, (INPUTS, required.form)])


def _find(stored: StoredTask) -> Task:
    """Return the task as it is now."""
    if "<" in stored.function:
        raise NotFoundError(f"{stored.task} is defined within another function, and cannot be found by its name")
    if not stored.task_module:
        raise NotFoundError(f"{stored.task} was typed at a prompt: there is nothing to import it from")
    module = _script(stored) if os.path.isabs(stored.task_module) else _module(stored)
    found: Any = module
    for part in stored.function.split("."):
        found = getattr(found, part, None)
    found = task_of(found)
    if not isinstance(found, Task):
        raise NotFoundError(f"{stored.task_module} has no task {stored.function} any more: it was moved or renamed")
    return found


def _module(stored: StoredTask) -> Any:
    try:
        return importlib.import_module(stored.task_module)
    except ImportError as error:
        raise NotFoundError(
            f"the module {stored.task_module} of {stored.task} cannot be imported here ({error}): put it on PYTHONPATH"
        ) from error


def _script(stored: StoredTask) -> Any:
    """Run a script under a name that is not ``__main__``, so that it only defines things."""
    path = stored.task_module
    # Of another machine, or another checkout: the path within the repository is in the task's name.
    if not os.path.isfile(path) and os.path.isfile(within := stored.task.rpartition(":")[0]):
        path = within
    spec = importlib.util.spec_from_file_location(SCRIPT_MODULE, path)
    if spec is None or spec.loader is None or not os.path.isfile(path):
        raise NotFoundError(f"the script {path} of {stored.task} is not there")
    module = sys.modules[SCRIPT_MODULE] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise NotFoundError(
            f"the script {path} of {stored.task} cannot be loaded ({type(error).__name__}: {error})"
        ) from error
    return module


def _buildable(each: StoredParameter) -> bool:
    try:
        build_value(each.form)
    except (InvalidInputError, NotFoundError):
        return False
    return True


def _argument(task: str, each: StoredParameter) -> Any:
    tag = each.form[0] if isinstance(each.form, list) else ""
    if tag == "file":
        return _file(task, each)
    if tag in ("record", "content") and each.given:
        return Record.from_token(each.given)
    if tag == "content":
        raise InvalidInputError(
            f"{task}: its argument {each.name} was the result of another task: call that one, and hand its result on"
        )
    try:
        return build_value(each.form)
    except InvalidInputError as error:
        raise InvalidInputError(f"{task}: its argument {each.name} cannot be made again: {error}") from None


def _file(task: str, each: StoredParameter) -> Path:
    path = Path(each.given or "")
    try:
        digest, _ = file_digest(str(path))
    except OSError as error:
        raise NotFoundError(f"{task}: its argument {each.name}, the file {path}, cannot be read ({error})") from None
    if digest != each.value:
        raise ConflictError(f"{task}: its argument {each.name}, the file {path}, is not what it was")
    return path
