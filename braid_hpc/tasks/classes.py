"""Tasks that are classes: annotated attributes are parameters, ``run`` does it, ``requires`` says what comes first.

The class becomes a frozen dataclass, and its task a function of its parameters, and of the results of what it requires.
So all that holds of functions holds of it, its identity first of all.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterable
from typing import Any

from braid_hpc.tasks.known import RESULTS
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["Runner", "check_class", "described", "equip", "in_form_of", "inputs_of", "make_class", "task_of"]

#: Argument for the results of what a task requires.
INPUTS = "requires"

#: Where a class keeps its task, and an instance what it was given by those that it requires.
_TASK, _INPUTS = "__braid_task__", "_braid_inputs"

#: What the class has of us, and so can be no parameter.
_OURS = ("key", "input", "output", "requires", "run")


def make_class(made: type) -> type:
    """Make a class a frozen dataclass, having seen that it can be a task.

    Parameters
    ----------
    made : type
        With ``run``; its annotated attributes are parameters.

    Returns
    -------
    type
        The same class.

    Raises
    ------
    InvalidInputError
        If it cannot.
    """
    check_class(made)
    try:
        if not dataclasses.is_dataclass(made) or "__dataclass_fields__" not in vars(made):
            dataclasses.dataclass(frozen=True)(made)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"task {made.__qualname__}: {error}") from None
    for each in dataclasses.fields(made):
        if each.name in _OURS or each.name.startswith("_") or not each.init:
            raise InvalidInputError(f"task {made.__qualname__}: {each.name} can be no parameter: give it another name")
    return made


def check_class(made: type) -> None:
    """See that a class says what a task has to.

    Parameters
    ----------
    made : type
        A class.

    Raises
    ------
    InvalidInputError
        If it has no ``run``, or makes its instances in its own way.
    """
    what = f"task {made.__qualname__}"
    if not inspect.isfunction(getattr(made, "run", None)) or hasattr(made, _TASK):
        raise InvalidInputError(f"{what}: a class that is a task has a method run(self), which no other task has yet")
    if "__init__" in vars(made) and "__dataclass_fields__" not in vars(made):
        raise InvalidInputError(f"{what}: its parameters are its annotated attributes, and not those of __init__")
    for name in ("requires", "output"):
        if hasattr(made, name) and not inspect.isfunction(getattr(made, name)):
            raise InvalidInputError(f"{what}: {name} is a method: def {name}(self)")


class Runner:
    """What a class's task calls: it has the place, the parameters and the source of the class.

    Parameters
    ----------
    made : type
        From :func:`make_class`.
    """

    def __init__(self, made: type) -> None:
        self.__wrapped__ = made
        self.__module__, self.__name__, self.__qualname__ = made.__module__, made.__name__, made.__qualname__
        self.__doc__ = made.__doc__
        try:
            hints = typing.get_type_hints(made)
        except Exception:
            # Whatever stands in an annotation is the program's own; without it arguments are taken as they are.
            hints = {}
        parameters = list(inspect.signature(made).parameters.values())
        self.__annotations__ = {each.name: hints[each.name] for each in parameters if each.name in hints}
        if hasattr(made, "requires"):
            parameters.append(inspect.Parameter(INPUTS, inspect.Parameter.KEYWORD_ONLY, default=None))
        self.__signature__ = inspect.Signature(parameters)
        self.__braid_run__: Callable[[Any], Any] = made.run  # type: ignore[attr-defined]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Make an instance, and run it as the class says."""
        inputs = kwargs.pop(INPUTS, None)
        instance = self.__wrapped__(*args, **kwargs)
        object.__setattr__(instance, _INPUTS, inputs)
        return self.__braid_run__(instance)


class ClassOutput:
    """Where results of a class's task are written: where the instance's ``output`` says.

    Parameters
    ----------
    made : type
        The class.
    """

    def __init__(self, made: type) -> None:
        self._made = made

    def at(self, where: Any, arguments: dict[str, Any]) -> Any:
        """Return the target of a call.

        Parameters
        ----------
        where : object
            Not looked at.
        arguments : dict
            Of the call.

        Returns
        -------
        Target
            What ``output`` returns.

        Raises
        ------
        InvalidInputError
            If that is no target.
        """
        instance = self._made(**{name: value for name, value in arguments.items() if name != INPUTS})
        object.__setattr__(instance, _INPUTS, arguments.get(INPUTS))
        found = instance.output()
        if not all(callable(getattr(found, name, None)) for name in ("write", "lazy", "found")):
            raise InvalidInputError(
                f"task {self._made.__qualname__}: output(self) returns a target, such as "
                f"LocalResult('staging').at('a.npy', {{}}), not {found!r}"
            )
        return found


def equip(made: type, task: Any) -> None:
    """Give a class what makes its instances calls of its task.

    Parameters
    ----------
    made : type
        From :func:`make_class`.
    task : Task
        Made of its :class:`Runner`.
    """
    begin = made.__init__  # type: ignore[misc]
    parameters = inspect.signature(made)

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            bound = parameters.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidInputError(f"task {task.name}: {error}") from None
        for name, value in bound.arguments.items():
            if RESULTS.find(value) is None:
                bound.arguments[name] = task.identity.checked(name, value)
        begin(self, *bound.args, **bound.kwargs)

    def run(self: Any) -> Any:
        """Run what it requires, and then itself, unless that is done; return the result."""
        from braid_hpc.tasks.building import run_alone

        return run_alone(self)

    def given(self: Any) -> Any:
        """Return the results of what it requires, in the form in which ``requires`` names them."""
        if not hasattr(self, _INPUTS):
            from braid_hpc.tasks.building import run_required

            object.__setattr__(self, _INPUTS, run_required(self))
        return getattr(self, _INPUTS)

    def key(self: Any) -> bytes:
        """Return the key of the call: of what it requires the results count, so that is run unless it is done."""
        inputs = {INPUTS: self.input()} if hasattr(made, "requires") else {}
        return bytes(task.key_of(**arguments_of(self), **inputs))

    __init__.__wrapped__ = begin  # type: ignore[attr-defined]
    for name, method in (("__init__", __init__), ("run", run), ("input", given), ("key", key)):
        setattr(made, name, method)
    setattr(made, _TASK, task)


def task_of(thing: Any) -> Any:
    """Return the task of a class or of an instance.

    Parameters
    ----------
    thing : object
        Anything.

    Returns
    -------
    object
        Its task; `thing` itself if it has none.
    """
    return getattr(thing, _TASK, thing)


def arguments_of(instance: Any) -> dict[str, Any]:
    """Return the parameters of an instance.

    Parameters
    ----------
    instance : object
        Of a class that is a task.

    Returns
    -------
    dict
        By name.
    """
    return {each.name: getattr(instance, each.name) for each in dataclasses.fields(instance)}


def inputs_of(instance: Any, result: Callable[[Any], Any]) -> Any:
    """Return the results of what an instance requires, in the form in which it names them.

    Parameters
    ----------
    instance : object
        Of a class that is a task.
    result : callable
        Gives the result of each.

    Returns
    -------
    object
        One result, or a list, tuple or dict of them.

    Raises
    ------
    InvalidInputError
        If something else is required.
    """

    def walk(wanted: Any) -> Any:
        if wanted is None:
            return None
        if isinstance(wanted, dict):
            return {name: walk(each) for name, each in wanted.items()}
        if isinstance(wanted, (list, tuple)):
            return in_form_of(wanted, [walk(each) for each in wanted])
        if isinstance(wanted, Iterable) and not hasattr(type(wanted), _TASK):
            return [walk(each) for each in wanted]
        if isinstance(wanted, type) or not hasattr(type(wanted), _TASK):
            raise InvalidInputError(
                f"task {task_of(instance).name}: requires(self) returns tasks such as Fit(seed=3), not {wanted!r}"
            )
        return result(wanted)

    return walk(instance.requires()) if hasattr(type(instance), "requires") else None


def in_form_of(wanted: Any, parts: list[Any]) -> Any:
    """Return other parts in the form of a list or a tuple, which may have names.

    Parameters
    ----------
    wanted : list or tuple
        What they stand for.
    parts : list
        As many.

    Returns
    -------
    list or tuple
        Of the same type.
    """
    kind: Any = type(wanted)
    return kind._make(parts) if hasattr(kind, "_make") else kind(parts)


def described(made: type) -> dict[str, str]:
    """Return what a class says of its parameters: the texts of ``Annotated[int, "how many"]``.

    Parameters
    ----------
    made : type
        A class that is a task.

    Returns
    -------
    dict of str to str
        By parameter; those of which nothing is said are left out.
    """
    found = {}
    for name, hint in typing.get_type_hints(made, include_extras=True).items():
        texts = [each for each in getattr(hint, "__metadata__", ()) if isinstance(each, str)]
        if texts:
            found[name] = texts[0]
    return found
