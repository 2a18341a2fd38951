"""Annotating records of an open store: tags and notes that anyone adds at any time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from braid_hpc.store.stating import Stating
from braid_hpc.vocabulary.annotations import ANNOTATION_COLUMNS, ANNOTATIONS, NOTE, TAG, UNTAG
from braid_hpc.vocabulary.encoding import check_tags
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from braid_hpc.run.recorder import Run
    from braid_hpc.snapshots.files import StoreFiles
    from braid_hpc.store.annotations import Annotations

__all__ = ["Annotating"]


class Annotating(Stating):
    """What is said of a store's nodes by anyone, and may be said anew; all of it goes through a log."""

    def tag(
        self, reference: str, tags: Mapping[str, Any] | None = None, /, *, private: bool = False, **more: Any
    ) -> str:
        """Tag a version or an activity: of each key the newest value stands, and earlier ones are kept.

        The statement goes into a log beside the store and from there into its next snapshot, on which this handle is
        afterwards. What a run declared stays as it is; an annotation of its key stands over it.

        Parameters
        ----------
        reference : str
            What is tagged; without a version, the newest.
        tags : mapping, optional
            Key to value, for keys that are no names of Python or are called as a parameter here.
        private : bool
            Into one's own store (:attr:`private`) instead, of which only its owner knows.
        **more
            Key to value: str, int, float or bool.

        Returns
        -------
        str
            ``id:<hex>`` of what was tagged.

        Raises
        ------
        NotFoundError, ConflictError
            As :meth:`get`.
        InvalidInputError
            As :meth:`get`; also if there is no tag, one cannot be kept, or no private store is named.
        StorageError
            If the statement cannot be written.

        See Also
        --------
        untag : removes one.
        annotations : all that was said.
        """
        given = check_tags({**(tags or {}), **more})
        if not given:
            raise InvalidInputError("no tag is given: name one, such as quality='good'")
        return self._annotate(reference, [(TAG, key, value) for key, value in given.items()], private=private)

    def untag(self, reference: str, keys: str | Iterable[str], *, private: bool = False) -> str:
        """Remove tags of a version or an activity, whoever gave them; at an earlier moment they are there.

        Parameters
        ----------
        reference : str
            What is tagged; without a version, the newest.
        keys : str or iterable of str
            Of the tags.
        private : bool
            In one's own store: they are gone for its owner.

        Returns
        -------
        str
            ``id:<hex>`` of what was tagged.

        Raises
        ------
        NotFoundError
            As :meth:`get`, and if it has no such tag.
        ConflictError, InvalidInputError, StorageError
            As :meth:`tag`.
        """
        from braid_hpc.store.finding import tags_of

        wanted = [keys] if isinstance(keys, str) else list(keys)
        node = self.get(reference)
        there = tags_of(self, [node.id]).get(node.id, {})
        for key in wanted:
            if key not in there:
                known = ", ".join(map(str, there)) or "none"
                raise NotFoundError(f"{node.ref} has no tag {key!r:.80}; its tags are: {known}")
        if not wanted:
            raise InvalidInputError("no tag is named: give its key")
        return self._annotate(reference, [(UNTAG, key, None) for key in wanted], private=private)

    def note(self, reference: str, text: str, *, private: bool = False) -> str:
        """Add a note to a version or an activity.

        Parameters
        ----------
        reference : str
            What it is about; without a version, the newest.
        text : str
            For people. A later note does not replace it.
        private : bool
            Into one's own store.

        Returns
        -------
        str
            ``id:<hex>`` of what it is about.

        Raises
        ------
        NotFoundError, ConflictError, StorageError
            As :meth:`tag`.
        InvalidInputError
            As :meth:`tag`, and if it is no text.
        """
        if not isinstance(text, str) or not text:
            raise InvalidInputError(f"a note is a text, not {text!r:.80}")
        return self._annotate(reference, [(NOTE, "", text)], private=private)

    def annotations(self, reference: str, *, at: int | None = None, as_of: Any = None) -> Annotations:
        """Return all that was said of a version or an activity after it was recorded, private annotations too.

        Parameters
        ----------
        reference : str
            What it is about; without a version, the newest.
        at : int, optional
            A snapshot number: what the store knew then. Private annotations know no snapshots of it.
        as_of : datetime, str or int, optional
            A time: what had been said by then.

        Returns
        -------
        Annotations
            Of :class:`~braid_hpc.store.annotations.Annotation`, as in a list, the oldest first, and a table.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError
            As :meth:`get`.
        """
        from braid_hpc.store.annotations import annotations_about

        return annotations_about(self, self.get(reference, at=at, as_of=as_of).id, self._then(at, as_of))

    def _annotate(self, reference: str, said: list[tuple[str, str, Any]], *, private: bool) -> str:
        # It imports pyarrow, which most questions do without.
        from braid_hpc.compaction.rows import typed

        node = self.get(reference)
        rows = []
        for what, key, value in said:
            kind, text = typed(value)[:2] if what != UNTAG else ("", "")
            rows.append((node.uid, what, key, kind, text))

        def say(run: Run) -> list[str]:
            stream = run.stream(ANNOTATIONS, ANNOTATION_COLUMNS)
            return [f"id:{node.uid}" if stream.append(*row) else "" for row in rows]

        if private:
            from braid_hpc.store.statements import state

            return state(self._private_files(), say)[0]
        return self._state(say)[0]

    def _private_files(self) -> StoreFiles:
        from braid_hpc.compaction.compact import create_empty
        from braid_hpc.snapshots.files import StoreFiles

        if self.private is None:
            raise InvalidInputError("no private store is named: open with private=, or set BRAID_PRIVATE_STORE")
        if self.private.resolve() == self.path.resolve():
            raise InvalidInputError(f"{self.private} is the shared store: a private one is another file")
        files = StoreFiles(self.private)
        if not files.exists():
            create_empty(files)
        return files
