"""Declaring records: from what a program says of one to a declaration in the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from braid_hpc.run.activities import Activity, current_activity
from braid_hpc.run.attaching import Attaching
from braid_hpc.run.contents import describe
from braid_hpc.run.guard import passes, recording, shown
from braid_hpc.run.handles import RECORDS, Record
from braid_hpc.run.links import must_be_record
from braid_hpc.vocabulary.codes import Code, check_kind
from braid_hpc.vocabulary.encoding import check_tags, encode, encode_canonical
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identity import content_of_value
from braid_hpc.vocabulary.payloads import Declaration, Links

if TYPE_CHECKING:
    from braid_hpc.run.states import KeptState

__all__ = ["Declaring"]

_DECLARED = frozenset(
    {"uri", "path", "array", "digest", "size", "dtype", "shape", "unit", "value", "derived_from", "tags"}
) | {"same_on_all_ranks", "on_invalid"}


#: Digests of records that are remembered, the last ones.
_REMEMBERED = 4096


class Declaring(Attaching):
    """What declares records, and says more of them later."""

    #: Digests of the records that were declared, by sequence.
    _digests: dict[int, str] | None = None

    def record(self, kind: str, name: str, **about: Any) -> Record:
        """Declare a version of a record.

        Parameters
        ----------
        kind : str
            Lower-case word: ``fact``, ``data``, ``model``, ``dataset``, ``checkpoint``, or one of your own.
        name : str
            The record's name; versions of one name belong together.
        uri : str or list of str, optional
            Where the bytes are, in order. A readable file on this machine is hashed (up to
            :data:`braid_hpc.run.contents.HASH_LIMIT`) and its uri made absolute.
        path : path-like, optional
            A file on this machine, as `uri`.
        array : array, optional
            Digest, dtype and shape are taken from it; nothing of it is stored.
        digest : str or bytes, optional
            The content's digest, if it is known: ``"<algorithm>:<hex>"``.
        size : int, optional
            Bytes.
        dtype, shape, unit : optional
            Of an array, where they do not follow from `array`.
        value : object, optional
            The declared value of something that has no bytes of its own.
        derived_from : Record, str, or list of these, optional
            Direct parents; references in text are resolved when logs are merged.
        tags : mapping, optional
            Key to str, int, float or bool; nested mappings become dotted keys.
        same_on_all_ranks : bool
            A version without content is this rank's own, unless this says that all ranks declare the same one.
        on_invalid : list of str, str, mapping, or list of these, optional
            What ``braid actions run`` does when the record turns out not to hold, see :meth:`on_invalid`.

        Returns
        -------
        Record
            The handle; false if nothing could be recorded.
        """
        return self._declare(kind, name, about)

    def fact(self, name: str, value: Any = None, **about: Any) -> Record:
        """Declare a fact: something with no parents inside the workflow, and that no activity generates.

        Parameters
        ----------
        name : str
            The fact's name.
        value : object, optional
            Its value; a fact without bytes has its value as content.
        **about
            As for :meth:`record`.

        Returns
        -------
        Record
            The handle.
        """
        return self._declare("fact", name, {"value": value, **about})

    def data(self, name: str, **about: Any) -> Record:
        """Declare data; see :meth:`record`."""
        return self._declare("data", name, about)

    def _declare(
        self,
        kind: str,
        name: str,
        about: dict[str, Any],
        activity: Activity | None = None,
        state: KeptState | None = None,
    ) -> Record:
        if not self._open:
            self._note_late()
            return Record(bytes(16), 0, shown(kind), shown(name))
        try:
            return self._try_declare(kind, name, about, activity, state)
        except Exception as error:
            if passes(error):
                raise
            self._refused(f"{shown(kind)} {shown(name)}", error, ", ".join(f"{k}={shown(v)}" for k, v in about.items()))
            return Record(self._log.writer, 0, shown(kind), shown(name))

    def _try_declare(
        self, kind: str, name: str, about: dict[str, Any], activity: Activity | None, state: KeptState | None
    ) -> Record:
        check_kind(kind)
        if not isinstance(name, str) or not name:
            raise InvalidInputError(f"a record's name is a text, not {name!r}")
        declaration = Declaration()
        parents = self._good_links(f"parents of {kind}:{name}", about.get("derived_from"))
        if kind == "fact" and parents:
            parents = self._part(f"parents of {kind}:{name}", _no_parents, name, default=[])
        declaration.parents = parents
        for key in about.keys() - _DECLARED:
            self._part(f"{kind}:{name}", _unknown_keyword, key)
        found = self._part(
            f"content of {kind}:{name}",
            lambda _: describe(**{key: about.get(key) for key in ("uri", "path", "array", "digest", "size")}),
            None,
        )
        if found is not None:
            declaration.uris, declaration.dtype, declaration.shape = found.uris, found.dtype, found.shape
        content = found.content if found is not None else None
        if state is not None:
            content, declaration.state, declaration.kept = state.content, state.tensors, state.kept
            declaration.uris = [*state.uris, *(uri for uri in declaration.uris if uri not in state.uris)]
        value = about.get("value")
        elsewhere = kind == "fact" and value is None and bool(declaration.uris)
        if content is None and not elsewhere and (value is not None or kind == "fact"):
            content = self._part(f"value of {kind}:{name}", lambda v: content_of_value(encode_canonical(v)), value)
        if content is not None:
            declaration.digest, declaration.size, declaration.weak = content.digest, content.size, content.weak
            declaration.value = value
        declaration.tags = self._part(f"tags of {kind}:{name}", check_tags, about.get("tags"))
        for key in ("dtype", "shape", "unit"):
            if about.get(key) is not None:
                setattr(declaration, key, self._part(f"{key} of {kind}:{name}", _ARRAY_FACTS[key], about[key]))
        # A fact whose bytes lie where this rank cannot read them is still one fact for all ranks of the run.
        declaration.shared = bool(about.get("same_on_all_ranks")) or (elsewhere and content is None)
        record = self._store_declaration(kind, name, declaration, activity)
        if declaration.digest and not declaration.weak:
            self._remember_digest(record, declaration.digest)
        if about.get("array") is not None and record:
            RECORDS.remember(about["array"], record)
        if about.get("on_invalid") is not None and record:
            self._part(
                f"on_invalid of {kind}:{name}", lambda given: self._attach(record.sequence, given), about["on_invalid"]
            )
        return record

    def _store_declaration(
        self,
        kind: str,
        name: str,
        declaration: Declaration,
        activity: Activity | None,
        *,
        made: bool = True,
        ended: bool = False,
    ) -> Record:
        """Store a declaration; one that is `ended` may be made by an activity that has."""
        log = self._log
        if activity is None:
            activity = current_activity()
        owner, foreign = 0, 0
        # A fact was not made by what runs where it is stated.
        if made and kind != "fact" and activity is not None and activity.run is self and (activity.open or ended):
            owner, foreign = activity.sequence, self._foreign(activity)
        payload = encode(declaration)
        sequence = log.append(Code.DECLARE, log.intern(name), owner, foreign, log.intern(kind), 0, payload)
        return Record(log.writer, sequence, kind, name)

    def digest_of(self, record: Record) -> str | None:
        """Return the digest that a record was declared with.

        Parameters
        ----------
        record : Record
            A handle.

        Returns
        -------
        str or None
            None if this process did not declare it, or it has no content, or 4,096 records came after it.
        """
        if self._digests is None or not isinstance(record, Record) or record.writer != self._log.writer:
            return None
        return self._digests.get(record.sequence)

    def _remember_digest(self, record: Record, digest: str) -> None:
        if self._digests is None:
            self._digests = {}
        self._digests[record.sequence] = digest
        if len(self._digests) > _REMEMBERED:
            # Two threads may find the same one.
            self._digests.pop(next(iter(self._digests), 0), None)

    @recording
    def derive(self, child: Record, parents: Any) -> None:
        """Add parents to a record that was declared before; its identity stays what it was.

        Parameters
        ----------
        child : Record
            A handle of this process.
        parents : Record, str, or list of these
            Further parents.

        Raises
        ------
        InvalidInputError
            Only under ``BRAID_STRICT=1``: if one of them is no record, or `child` is a fact, or would be its own
            parent.
        """
        links = self._good_links("parents", parents)
        handle = must_be_record(child)
        if not handle or not links:
            return
        if handle.kind == "fact":
            _no_parents(handle.name)
        if any(link == handle.sequence for link in links) and handle.writer == self._log.writer:
            raise InvalidInputError(f"{handle.kind}:{handle.name} cannot be derived from itself")
        self._log.append(
            Code.DERIVE, 0, handle.sequence, self._foreign_record(handle), 0, 0, encode(Links(links=links))
        )

    @recording
    def tag(self, record: Record, key: str, value: Any) -> None:
        """Add a tag to a record that was declared before.

        Parameters
        ----------
        record : Record
            Its handle.
        key : str
            The tag's key.
        value : str, int, float or bool
            Its value.

        Raises
        ------
        InvalidInputError
            Only under ``BRAID_STRICT=1``: if `record` is no record, or the tag cannot be kept.
        """
        handle = must_be_record(record)
        tags = check_tags({key: value})
        if not handle:
            return
        self._log.append(Code.TAG, 0, handle.sequence, self._foreign_record(handle), 0, 0, encode(tags))


def _no_parents(name: str) -> list[Any]:
    raise InvalidInputError(f"fact:{name} takes no parents inside the workflow: declare it as data to derive it")


def _unknown_keyword(key: str) -> None:
    raise InvalidInputError(f"{key}= is not something a record has; it has {', '.join(sorted(_DECLARED))}")


def _shape(value: Any) -> list[int]:
    lengths = [int(length) for length in (value if hasattr(value, "__iter__") else (value,))]
    if not all(0 <= length < 1 << 63 for length in lengths):
        raise InvalidInputError("the lengths of a shape are numbers from 0 below 2**63")
    return lengths


def _dtype(value: Any) -> str:
    return str(getattr(value, "str", None) or (value.__name__ if isinstance(value, type) else value))


_ARRAY_FACTS: dict[str, Any] = {"dtype": _dtype, "shape": _shape, "unit": str}
