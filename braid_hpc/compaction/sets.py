"""Sets at a commit: each is known by its members, whichever rank said them, and in whatever order."""

from __future__ import annotations

from braid_hpc.compaction.rows import Rows
from braid_hpc.compaction.stream_store import StreamTables
from braid_hpc.vocabulary.sets import RECORD, SET_COLUMNS, SETS

__all__ = ["settle_sets"]


def settle_sets(out: Rows, tables: StreamTables) -> None:
    """Write the members that this commit brings, and which set each label is now.

    Parameters
    ----------
    out : Rows
        Of the commit; all rows of streams and all occurrences are inserted.
    tables : StreamTables
        Where they are.
    """
    if (place := tables.own(SETS, SET_COLUMNS, list(SET_COLUMNS))) is None:
        return
    ask, snapshot = out.connection.execute, out.snapshot
    # A record is a member as the version that its occurrence belongs to; until that is there it is none.
    ask(
        f"""
        insert into member_rows select distinct said.label, said.run, said."table", said.member, {snapshot} from (
            select s.label, s._run as run, s."table", s.member from {place} s
            where s."table" <> '{RECORD}' and s._snapshot = {snapshot}
            union all
            select s.label, s._run, s."table", v.uid from {place} s
            join occurrences o on s.member = o.writer || {_TOKEN} join version_rows v using (id)
            where s."table" = '{RECORD}' and (s._snapshot = {snapshot} or o.snapshot = {snapshot})) said
        where not exists (from member_rows m where m.label = said.label and m.run = said.run
            and m."table" = said."table" and m.member = said.member) order by all
        """
    )
    ask(
        f"""
        insert into set_rows select label, run, 'sha256:' || sha256(string_agg(digest, '' order by digest)),
            count(*), {snapshot}
        from (select label, run, sha256(strlen("table") || ':' || "table" || ':' || member) as digest
            from member_rows where (label, run) in (
                select (label, run) from member_rows where snapshot = {snapshot}))
        group by label, run order by label, run
        """
    )


#: SQL of the second half of a handle's token: eight bytes of the sequence, little-endian, as hexadecimal digits.
_TOKEN = " || ".join(f"printf('%02x', (o.sequence >> {8 * byte}) & 255)" for byte in range(8))
