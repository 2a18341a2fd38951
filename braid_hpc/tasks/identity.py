"""The identity of a task's call: a key of 128 bits over name, version and canonical parameters (``docs/tasks.md``)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from braid_hpc.run.handles import Record
from braid_hpc.tasks.declared import declared_types, unify
from braid_hpc.tasks.forms import FormMaker, Seen, encode_form
from braid_hpc.tasks.naming import Place, code_digest, package_version, place_of
from braid_hpc.tasks.states import Role
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from braid_hpc.vocabulary.texts import clean

__all__ = ["KEY_BYTES", "SIGNIFICANT", "Bound", "Identity", "Parameter", "ParameterMissing"]

KEY_BYTES = 16

#: Which parts of a version count.
SIGNIFICANT = ("exact", "major.minor", "major")

_FORMAT = "braid task 1"

#: What is declared of an argument without an annotation.
_ANYTHING = object()


class ParameterMissing(NotFoundError):
    """An argument is the path of a file that is not there."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a call.

    Attributes
    ----------
    name : str
        Of the argument.
    form : object
        From :class:`braid_hpc.tasks.forms.FormMaker`.
    role : Role
        Where it came from.
    given : str or None
        What it was given as, where the form does not say it: a file's path, a record's token.
    """

    name: str
    form: Any
    role: Role
    given: str | None = None


@dataclass(slots=True)
class Bound:
    """The arguments of one call, and the identity that they make.

    Attributes
    ----------
    arguments : dict
        By name, as the function gets them; ``*args`` and ``**kwargs`` by their own names.
    key : bytes
        16 bytes.
    parameters : list of Parameter
        All of them, in the order of the signature, inherited ones last.
    seen : Seen
        Records and files among them.
    """

    arguments: dict[str, Any]
    key: bytes
    parameters: list[Parameter]
    seen: Seen = field(default_factory=Seen)


class Identity:
    """What is known of a task before it is called.

    Parameters
    ----------
    function : callable
        A function.
    name : str, optional
        Instead of the one that follows from where the function is.
    version : str, optional
        Without it the source of the function stands in.
    significant : str
        One of :data:`SIGNIFICANT`.
    ignore : iterable of str
        Arguments that are no part of the identity.

    Attributes
    ----------
    place : Place
        Where the function is.
    name : str
        Of the task.
    code : str or None
        Digest of the function's source.

    Raises
    ------
    InvalidInputError
        If one of them cannot be used.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        version: str | None = None,
        significant: str = "exact",
        ignore: Iterable[str] = (),
    ) -> None:
        self.place: Place = place_of(function)
        self.name = _good_name(name) if name is not None else self.place.name
        if version is not None and (not isinstance(version, str) or not version):
            raise InvalidInputError(f"task {self.name}: version= is a text such as '0.1.3', not {version!r}")
        if significant not in SIGNIFICANT:
            raise InvalidInputError(
                f"task {self.name}: significant= is one of {', '.join(SIGNIFICANT)}, not {significant!r}"
            )
        self.version, self.significant = version, significant
        self.code = code_digest(function)
        self.signature = inspect.signature(function)
        self.ignore = frozenset([ignore] if isinstance(ignore, str) else ignore)
        if unknown := sorted(self.ignore - self.signature.parameters.keys()):
            raise InvalidInputError(f"task {self.name}: ignore= names {unknown[0]!r}, which is no parameter of it")
        if version is None and self.code is None:
            raise InvalidInputError(f"task {self.name}: it has no source that could be read: give version=")
        self._function = function
        self._types: dict[str, Any] | None = None
        self._inherited = self._find_inherited()

    # ------------------------------------------------------------------ the version

    def _find_inherited(self) -> list[Parameter]:
        found = {"source": self.code} if self.version is None else self._parts_of_version()
        inherited = [Parameter(name, form, Role.INHERITED) for name, form in found.items()]
        if (package := package_version(self._function)) is not None:
            inherited.append(Parameter("package", package, Role.INHERITED))
        return inherited

    def _parts_of_version(self) -> dict[str, Any]:
        assert self.version is not None
        if self.significant == "exact":
            return {"version": self.version}
        parts = self.version.split(".")
        wanted = self.significant.split(".")
        if len(parts) < len(wanted):
            raise InvalidInputError(
                f"task {self.name}: version {self.version!r} has no {wanted[-1]} number, which significant= asks for"
            )
        return {
            f"version_{name}": int(part) if part.isdecimal() else part
            for name, part in zip(wanted, parts, strict=False)
        }

    @property
    def significant_version(self) -> list[Any]:
        """What of the version is a part of every key."""
        return [[each.name, each.form] for each in self._inherited if each.name != "package"]

    @property
    def prefix(self) -> bytes:
        """The beginning of what every key is the digest of."""
        return encode_form([_FORMAT, self.name, self.significant_version])

    # ------------------------------------------------------------------ the arguments

    def arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
        """Return the arguments of a call by name.

        Parameters
        ----------
        args, kwargs
            As the function gets them.

        Returns
        -------
        arguments : dict
            In the order of the signature, defaults among them.
        given : set of str
            Those that are no defaults.

        Raises
        ------
        InvalidInputError
            If one is missing, is not known, or is there twice.
        """
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidInputError(f"task {self.name}: {error}") from None
        given = set(bound.arguments)
        bound.apply_defaults()
        return dict(bound.arguments), given

    def checked(self, name: str, value: Any) -> Any:
        """Return an argument as a value of its declared type.

        Parameters
        ----------
        name : str
            Of the argument.
        value : object
            What was given.

        Returns
        -------
        object
            See :func:`braid_hpc.tasks.declared.unify`.

        Raises
        ------
        InvalidInputError
            If it is of another type.
        """
        if (declared := self._declared(name)) is _ANYTHING or type(value) is declared:
            return value
        return unify(value, declared, f"task {self.name}: {name}=")

    def takes(self, name: str, kind: type) -> bool:
        """Return whether values of a type are taken as they are.

        Parameters
        ----------
        name : str
            Of an argument.
        kind : type
            Of values.

        Returns
        -------
        bool
            Whether it is the declared one, or none is declared.
        """
        return (declared := self._declared(name)) is _ANYTHING or declared is kind

    def _declared(self, name: str) -> Any:
        if self._types is None:
            self._types = declared_types(self._function)
        kind = self.signature.parameters[name].kind
        several = kind in (kind.VAR_POSITIONAL, kind.VAR_KEYWORD)
        return _ANYTHING if several else self._types.get(name, _ANYTHING)

    def bind(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        stands_for: Callable[[Any], tuple[str, Record] | None],
        digest_of: Callable[[Record], str | None],
    ) -> Bound:
        """Return the arguments of a call, and the identity that they make.

        Parameters
        ----------
        args, kwargs
            As the function gets them.
        stands_for, digest_of
            As for :class:`braid_hpc.tasks.forms.FormMaker`.

        Returns
        -------
        Bound
            All of it.

        Raises
        ------
        InvalidInputError
            If an argument is missing, unknown, of another type than declared, or has no value that can be told again.
        ParameterMissing
            If one is the path of a file that is not there.
        """
        arguments, given = self.arguments(args, kwargs)
        # All types, before the first file is read.
        for name, value in arguments.items():
            if name not in self.ignore and stands_for(value) is None:
                arguments[name] = self.checked(name, value)
        maker = FormMaker(stands_for=stands_for, digest_of=digest_of)
        parameters = []
        for name, value in arguments.items():
            if name in self.ignore:
                parameters.append(Parameter(name, _loosely(value), Role.IGNORED, _given_as(value)))
                continue
            try:
                form = maker.form(value, f"task {self.name}: {name}=")
            except NotFoundError as error:
                raise ParameterMissing(str(error)) from None
            role = Role.GIVEN if name in given else Role.DEFAULT
            parameters.append(Parameter(name, form, role, _given_as(value)))
        key = self.key([(each.name, each.form) for each in parameters if each.role is not Role.IGNORED])
        return Bound(arguments, key, [*parameters, *self._inherited], maker.seen)

    def key(self, forms: Iterable[tuple[str, Any]]) -> bytes:
        """Return the key of some forms.

        Parameters
        ----------
        forms : iterable of (str, object)
            Name and form of every parameter that counts, in any order.

        Returns
        -------
        bytes
            16 bytes.
        """
        return digest_key(self.prefix, [encode_form([name, form]) for name, form in sorted(forms, key=_by_name)])


def digest_key(prefix: bytes, parts: Iterable[bytes]) -> bytes:
    """Return the key of encoded parameters.

    Parameters
    ----------
    prefix : bytes
        From :attr:`Identity.prefix`.
    parts : iterable of bytes
        Each parameter that counts, ``[name, form]`` encoded, sorted by name.

    Returns
    -------
    bytes
        16 bytes.
    """
    from blake3 import blake3

    return blake3(prefix + b"".join(parts)).digest(KEY_BYTES)


def _by_name(pair: tuple[str, Any]) -> str:
    return pair[0]


def _good_name(name: Any) -> str:
    if not isinstance(name, str) or not name or "\n" in name or "\0" in name:
        raise InvalidInputError(f"name= of a task is a text of one line, not {name!r}")
    return name


def _loosely(value: Any) -> Any:
    """Return what is kept of an argument that does not count."""
    try:
        return FormMaker().form(value)
    except Exception:
        # Whatever it is: it does not count, and so is no reason not to run.
        return ["type", f"{type(value).__module__}.{type(value).__qualname__}"]


def _given_as(value: Any) -> str | None:
    if isinstance(value, Record):
        return value.token
    # A name of a file need not be text.
    return clean(str(value)) if hasattr(value, "__fspath__") else None
