"""What was recorded of the files of a Bluesky run, when it stopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from braid_hpc.store.opened import Opened

__all__ = ["RecordedFile", "recorded_files"]


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """A file of external data, as it was when its run stopped.

    Attributes
    ----------
    uri : str
        Where it was.
    digest : str or None
        ``blake3:<hex>``, or size, time and inode where they stand in (``stat:...``); None of what could not be read.
    size : int or None
        Bytes.
    weak : bool
        Whether the digest only stands in for one.
    resource : str or None
        Uid of the resource that named it; of several, the last.
    """

    uri: str
    digest: str | None
    size: int | None
    weak: bool
    resource: str | None


def recorded_files(store: Opened, uid: str, resources: list[str], *, then: dict[str, int]) -> list[RecordedFile]:
    """Return what is recorded of the files of a run.

    Parameters
    ----------
    store : Opened
        Open.
    uid : str
        Of the run.
    resources : list of str
        Uids of its resources and stream resources.
    then : dict of str to int
        The moment: ``at`` and ``as_of``.

    Returns
    -------
    list of RecordedFile
        By uri.
    """
    rows = store.sql(
        "with named as (select id, min(text) as resource from tags where key = 'resource' "
        "and text in (select unnest($resources::varchar[])) group by id), "
        "made as (select e.child as id from edges e join activities a on a.id = e.parent "
        "where e.relation = 'wasGeneratedBy' and a.name = $activity) "
        "select v.name, v.digest, v.size, v.weak, n.resource from versions v left join named n on n.id = v.id "
        "where v.kind = 'file' and (n.id is not null or v.id in (from made)) "
        "and v.snapshot <= $at and epoch_ns(v.time) <= $as_of order by v.name, v.id",
        {"resources": resources, "activity": f"scan:{uid}", **then},
    )
    return [RecordedFile(row["name"], row["digest"], row["size"], row["weak"], row["resource"]) for row in rows]
