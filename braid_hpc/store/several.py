"""Several stores, asked as one."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from braid_hpc.compaction.joined import Source, join_stores, look_at, origins_of
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.store.derived import Derived
from braid_hpc.store.guarded import guarded
from braid_hpc.store.kept import keep
from braid_hpc.store.resolve import Node, resolve
from braid_hpc.store.restricted import fewer_groups, named_groups, show
from braid_hpc.store.tables import Table
from braid_hpc.vocabulary.errors import (
    BraidWarning,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    ReadOnlyError,
)
from braid_hpc.vocabulary.references import Reference, format_reference, parse_reference

__all__ = ["Several"]

#: Between the name of a store and a reference in it.
MARK = "::"


class _Newest(int):
    """The number of the only snapshot that can be asked: no caller has it but by asking the handle."""


@guarded
class Several(Derived):
    """Several stores, read-only, as one that holds everything of them once; ``origin`` says which store has what.

    Parameters
    ----------
    paths : iterable of path-like, or mapping of str to path-like
        The stores; a mapping names them, else they are called as their files are.
    groups : str or iterable of str, optional
        Of each of them, what somebody of these groups may see.

    Attributes
    ----------
    origins : dict of str to Path
        The stores by their names.

    Raises
    ------
    NotFoundError
        If one of them does not exist, or several lack their archives.
    InvalidInputError
        If none is named, one is no store, or one has a name that another one has.
    FormatTooNewError
        If one is of a newer format, also of a newer minor one.
    StorageError
        If one cannot be read, or there is no place to put them together.
    """

    def __init__(
        self,
        paths: Iterable[str | os.PathLike[str]] | Mapping[str, str | os.PathLike[str]],
        *,
        groups: str | Iterable[str] | None = None,
    ) -> None:
        self.origins: dict[str, Path] = _named(paths)
        self.groups = None if groups is None else named_groups(groups)
        super().__init__(next(iter(self.origins.values())))

    def _open(self, files: StoreFiles) -> None:
        with contextlib.ExitStack() as stack:
            sources = [look_at(origin, self._shown(path, stack)) for origin, path in self.origins.items()]
            kept, self._temporary = keep(
                ["several", *([each.origin, str(each.files.path.resolve())] for each in sources)],
                [[each.origin, *each.commits.values()] for each in sources],
                functools.partial(_join, sources),
            )
        super()._open(StoreFiles(kept))
        self.snapshot = _Newest(self.snapshot)
        self.path = Path(" + ".join(path.name for path in self.origins.values()).replace("/", "_"))

    def _shown(self, path: Path, stack: contextlib.ExitStack) -> StoreFiles:
        """Return the files of a store, or of what is shown of it, which may be there no longer than the stack."""
        if self.groups is None:
            return StoreFiles(path)
        kept, temporary = show(StoreFiles(path), self.groups)
        if temporary is not None:
            stack.callback(shutil.rmtree, temporary, ignore_errors=True)
        return StoreFiles(kept)

    def _again(self) -> Self:
        return type(self)(self.origins, groups=self.groups)

    def restricted(self, groups: str | Iterable[str]) -> Self:
        """Open what some groups may see of these stores.

        Parameters
        ----------
        groups : str or iterable of str
            Somebody's groups; where this is what some groups may see, some of these.

        Returns
        -------
        Several
            Another handle, to be closed by itself.

        Raises
        ------
        NotFoundError, InvalidInputError, FormatTooNewError, CorruptLogError, StorageError
            As for :class:`braid_hpc.store.restricted.Restricted`.
        """
        return type(self)(self.origins, groups=groups if self.groups is None else fewer_groups(groups, self.groups))

    def table(self, stream: Any, *, at: int | None = None, as_of: Any = None) -> Any:
        """Return all rows of a stream, or those of a declared table that hold.

        Parameters
        ----------
        stream, at, as_of
            As for :meth:`braid_hpc.store.store.Store.table`.

        Returns
        -------
        Table or Selection
            As there; of a stream with a column ``_origin`` behind all others.

        Raises
        ------
        NotFoundError, InvalidInputError
            As there.
        """
        found = super().table(stream, at=at, as_of=as_of)
        if isinstance(stream, type) or not isinstance(found, Table):
            return found
        origins = {row["writer"]: row["origin"] for row in self.sql("from writer_origins")}
        import pyarrow as pa

        names = [origins.get(writer) for writer in found["_writer"]]
        return Table(found.to_arrow().append_column("_origin", pa.array(names, pa.list_(pa.string()))))

    def _at(self, at: int | None) -> int:
        if at is not None and not isinstance(at, _Newest):
            raise InvalidInputError(
                f"at={at!r:.40} means nothing to several stores, because each numbers its own snapshots: say as_of= a "
                "time, or ask one of them"
            )
        return self.snapshot

    def _refusal(self) -> ReadOnlyError:
        names = ", ".join(str(path) for path in self.origins.values())
        return ReadOnlyError(f"several stores together are only read: open the one that is to hold it, of {names}")

    def _resolved(self, reference: str, at: int, as_of: int | None) -> tuple[Node, list[Node]]:
        if not isinstance(reference, (str, Reference)):
            return super()._resolved(reference, at, as_of)
        return self._once(("resolved", reference, at, as_of), lambda: self._meant(reference, at, as_of))

    def _meant(self, text: str | Reference, at: int, as_of: int | None) -> tuple[Node, list[Node]]:
        """Return what a reference means: a number is a store's, so all stores that have given it must mean the same."""
        origin, rest = None, text
        if isinstance(text, str):
            head, mark, behind = text.strip().partition(MARK)
            if mark and head in self.origins:
                origin, rest = head, behind
        reference = rest if isinstance(rest, Reference) else parse_reference(rest)
        if reference.identity is None and reference.row is None and (reference.version or origin):
            rows = self._given(reference, origin)
            if origin is not None and not rows:
                raise NotFoundError(f"{reference} is not in {self.origins[origin]}")
            kinds = {row[2] for row in rows}
            if len(kinds) == 1 and origin is not None and reference.version is None:
                newest = resolve(self._connected, format_reference(rows[0][2], rows[0][3]), at, as_of)
                known = {row[1] for row in rows}
                if found := [node for node in (newest[0], *newest[1]) if node.uid in known]:
                    return found[0], found[1:]
                rows = rows[:1]
            if len({row[1] for row in rows}) == 1:
                return resolve(self._connected, f"id:{rows[0][1]}", at, as_of)
            if len(rows) > 1:
                told = ", ".join(
                    f"{row[0]}{MARK}{format_reference(row[2], row[3], row[4])} (id:{row[1][:12]})" for row in rows[:6]
                )
                raise ConflictError(f"{reference} is not the same in all of these stores: say which of {told}")
        return resolve(self._connected, reference, at, as_of)

    def _given(self, reference: Reference, origin: str | None) -> list[tuple[Any, ...]]:
        """Return what stores call so: origin, uid, kind, name, version, the highest number first."""
        asked = {"name": reference.name, "kind": reference.kind, "version": reference.version, "origin": origin}
        given = {column: value for column, value in asked.items() if value is not None}
        condition = " and ".join(f"{column} = ?" for column in given)
        rows: list[tuple[Any, ...]] = self._connected.execute(
            f"select origin, uid, kind, name, version from origin_numbers where {condition} "
            "order by kind, version desc, origin",
            list(given.values()),
        ).fetchall()
        return rows


def _named(
    paths: Iterable[str | os.PathLike[str]] | Mapping[str, str | os.PathLike[str]],
) -> dict[str, Path]:
    """Return the stores by their names, each once."""
    if isinstance(paths, Mapping):
        named = {str(name): Path(path) for name, path in paths.items()}
        if wrong := [name for name in named if not name or MARK in name]:
            raise InvalidInputError(f"{wrong[0]!r} cannot name a store: a name is not empty and has no {MARK!r} in it")
    else:
        each: dict[Path, Path] = {}
        for path in map(Path, paths):
            each.setdefault(path.resolve(), path)
        if not each:
            raise InvalidInputError("no store is named: give the path of at least one")
        named = dict(zip(origins_of(list(each.values())), each.values(), strict=True))
    if not named:
        raise InvalidInputError("no store is named: give the path of at least one")
    return named


def _join(sources: list[Source], path: Path, earlier: Path | None) -> None:
    # It may be gone: whoever made a later one has removed it.
    before = StoreFiles(earlier).newest() if earlier is not None and StoreFiles(earlier).exists() else None
    joined = join_stores(sources, StoreFiles(path), earlier=before)
    if joined.damage:
        warnings.warn(
            f"what {len(joined.damage)} damaged places of the archives held is not in the answers: "
            f"{'; '.join(joined.damage[:3])}",
            BraidWarning,
            stacklevel=2,
        )
