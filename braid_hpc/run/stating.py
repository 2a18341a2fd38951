"""Saying what is claimed of records, and naming what was published elsewhere."""

from __future__ import annotations

from typing import Any

from braid_hpc.run.contents import given_content
from braid_hpc.run.guard import passes, shown
from braid_hpc.run.handles import Record
from braid_hpc.run.judging import Judging
from braid_hpc.vocabulary.codes import check_kind
from braid_hpc.vocabulary.encoding import check_tags, encode_canonical
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identifiers import canonical, check_identifier, identifier_digest
from braid_hpc.vocabulary.identity import Content, content_of_value
from braid_hpc.vocabulary.payloads import Declaration

__all__ = ["PASSED", "STATEMENT", "Stating"]

#: Kind of the record that a statement is.
STATEMENT = "statement"

#: Its tag that says whether a test passed.
PASSED = "passed"


class Stating(Judging):
    """What states claims, and names what came from outside."""

    def external(
        self,
        uri: str | list[str],
        *,
        name: str | None = None,
        kind: str = "data",
        digest: Any = None,
        size: int | None = None,
        tags: Any = None,
    ) -> Record:
        """Declare something that was published elsewhere, by its identifier.

        Nothing is looked up, opened or hashed. The same identifier is one version, over all ranks and runs, unless a
        digest tells two apart. It takes no parents, and no activity generates it, an open one included.

        Parameters
        ----------
        uri : str or list of str
            Its identifier (``doi:...``, ``globus://...``, ``https://...``, or one of an archive such as
            ``tomo_00058``), and further places where it lies. Kept as they are; of letters whose case does not matter
            by the standard, another case is the same identifier.
        name : str, optional
            The record's name; without it the identifier.
        kind : str
            The record's kind.
        digest : str or bytes, optional
            Of its bytes, where it is known.
        size : int, optional
            Bytes.
        tags : mapping, optional
            As for :meth:`record`.

        Returns
        -------
        Record
            The handle.

        Raises
        ------
        InvalidInputError
            Only with ``BRAID_STRICT=1``: if `uri` is no identifier.
        """
        if not self._open:
            self._note_late()
            return Record(bytes(16), 0, shown(kind), shown(uri if name is None else name))
        try:
            check_kind(kind)
            uris = [check_identifier(each) for each in (uri if isinstance(uri, (list, tuple)) else [uri])]
            if not uris:
                raise InvalidInputError("something published elsewhere has an identifier: uri= is empty")
            called = canonical(uris[0]) if name is None else name
            if not isinstance(called, str) or not called:
                raise InvalidInputError(f"a record's name is a text, not {called!r}")
            about = Declaration(uris=uris)
            known = self._part(f"digest of {kind}:{called}", lambda given: given_content(given, size), digest)
            content = known or Content(identifier_digest(uris[0]), None, weak=True)
            about.digest, about.size, about.weak = content.digest, content.size, content.weak
            about.tags = self._part(f"tags of {kind}:{called}", check_tags, tags)
            return self._store_declaration(kind, called, about, None, made=False)
        except Exception as error:
            if passes(error):
                raise
            self._refused("external", error, shown(uri))
            return Record(self._log.writer, 0, shown(kind), shown(uri if name is None else name))

    def statement(
        self,
        name: str,
        *,
        about: Any,
        value: Any = None,
        passed: Any = None,
        tags: Any = None,
        same_on_all_ranks: bool = False,
    ) -> Record:
        """State something about records: what was inferred, measured or tested.

        A statement is a record of kind ``statement``, derived from what it is about. So it is invalid where that is.
        With `passed` it is a test: ``store.tests`` and ``braid tests`` list them.

        Parameters
        ----------
        name : str
            What is claimed; statements of one name about two versions are compared.
        about : Record, str, or list of these
            What it is about.
        value : object, optional
            What was found.
        passed : bool, optional
            Whether a test passed.
        tags : mapping, optional
            As for :meth:`record`.
        same_on_all_ranks : bool
            Each statement is one of its own, unless this says that all ranks make it together: equal ones are one
            then.

        Returns
        -------
        Record
            The handle.

        Raises
        ------
        InvalidInputError
            Only with ``BRAID_STRICT=1``: if `about` names no record, or `passed` is not a truth value.
        """
        if not self._open:
            self._note_late()
            return Record(bytes(16), 0, STATEMENT, shown(name))
        try:
            if not isinstance(name, str) or not name:
                raise InvalidInputError(f"a statement's name is a text, not {name!r}")
            what = f"{STATEMENT}:{name}"
            said = Declaration(parents=self._good_links(f"what {what} is about", about))
            if not said.parents:
                raise InvalidInputError(f"{what} is about nothing: about= names one record or more")
            verdict = self._part(f"passed of {what}", _truth, passed)
            said.tags = self._part(f"tags of {what}", _without_passed, tags)
            if verdict is not None:
                said.tags = {**(said.tags or {}), PASSED: verdict}
            encoded = self._part(f"value of {what}", lambda v: encode_canonical([v, verdict]), value)
            if encoded is not None:
                said.value = value
                if same_on_all_ranks:
                    said.digest = content_of_value(encoded).digest
            return self._store_declaration(STATEMENT, name, said, None)
        except Exception as error:
            if passes(error):
                raise
            self._refused(f"statement {shown(name)}", error, f"about={shown(about)}")
            return Record(self._log.writer, 0, STATEMENT, shown(name))


def _truth(passed: Any) -> bool | None:
    if passed is None or isinstance(passed, bool):
        return passed
    item = getattr(passed, "item", None)
    # NumPy's comparisons give its own truth value.
    if item is not None and getattr(passed, "shape", None) == () and isinstance(item(), bool):
        return bool(passed)
    raise InvalidInputError(f"passed= is True or False, not {passed!r}")


def _without_passed(tags: Any) -> dict[str, Any] | None:
    checked = check_tags(tags)
    if checked is not None and PASSED in checked:
        raise InvalidInputError(f"the tag {PASSED!r} of a statement is given as passed=")
    return checked
