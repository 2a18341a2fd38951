"""What a search reads: the tables of a store as they were at a snapshot, and with what had been said by a time."""

from __future__ import annotations

from braid_hpc.snapshots.schema import RANKS, RUNS

__all__ = ["source"]

#: Each with what it needs. What stands in braces is there only where a time is asked for.
_SOURCES: dict[str, tuple[str, tuple[str, ...]]] = {
    "gone": ("select id from filled where snapshot <= $at", ()),
    "said": ("select * from occurrences where snapshot <= $at{ and epoch_ns(time) <= $as_of}", ()),
    "things": (
        "select id, uid, kind, name, version, step, digest, weak, placeholder is not null as placeholder, snapshot "
        "from version_rows where snapshot <= $at and id not in (from gone){ and id in (select id from said)} "
        "union all select id, uid, 'activity', name, version, null, null, false, false, snapshot "
        "from activity_rows where snapshot <= $at{ and epoch_ns(begin_time) <= $as_of}",
        ("gone", "said"),
    ),
    # As the view ``versions`` has it.
    "declared": (
        "select id, min(time) as time, max(size) as size, "
        "arg_min(dtype, (writer, sequence)) filter (where dtype is not null) as dtype, "
        "arg_min(unit, (writer, sequence)) filter (where unit is not null) as unit, "
        "arg_min(value, (writer, sequence)) filter (where value is not null) as value from said group by id "
        "union all select id, begin_time, null, null, null, null from activity_rows where snapshot <= $at",
        ("said",),
    ),
    # As the view ``activities`` has it.
    "ran": (
        "select a.id, a.function, a.params, a.begin_time, e.end_time, e.duration_ns, "
        "coalesce(e.status, 'unfinished') as status, e.error from activity_rows a left join (select *, row_number() "
        "over (partition by begun_by, begun_at order by writer <> begun_by, writer, sequence) as choice "
        "from activity_ends where snapshot <= $at{ and epoch_ns(end_time) <= $as_of}) e "
        "on a.writer = e.begun_by and a.sequence = e.begun_at and e.choice = 1 where a.snapshot <= $at",
        (),
    ),
    "members": (
        "select run, rank, header ->> '$.host' as host from writers where snapshot <= $at"
        "{ and writer in (select writer from states)}",
        ("states",),
    ),
    "told": (
        "select o.id, w.run, w.rank, w.header ->> '$.host' as host "
        "from (select id, writer from said union all select id, writer from activity_rows where snapshot <= $at) o "
        "join writers w using (writer)",
        ("said",),
    ),
    "of_runs": (
        "select o.id, k.* from (select distinct id, run from told) o join known_runs k using (run)",
        ("told", "known_runs"),
    ),
    "labels": (
        "select id, key, type, text, integer, real, boolean from tag_rows "
        "where snapshot <= $at{ and epoch_ns(time) <= $as_of}",
        (),
    ),
    "places": ("select id, uri from uri_rows where snapshot <= $at{ and epoch_ns(time) <= $as_of}", ()),
    # Of a writer that went on longer nobody knows how many events it had by then.
    "states": (
        "select * {replace (if(ended, state, 'open') as state, if(ended, outcome, null) as outcome, "
        "if(ended, error, null) as error, if(ended, end_time, null) as end_time, "
        "if(ended, last_time, null) as last_time, if(ended, events, null) as events, "
        "if(ended, rejected, null) as rejected, if(ended, lost, null) as lost, if(gone, process, null) as process, "
        "if(gone, exit_code, null) as exit_code, if(gone, ended_time, null) as ended_time) }"
        "from (select *{, coalesce(epoch_ns(greatest(end_time, last_time)) <= $as_of, false) as ended, "
        "coalesce(epoch_ns(ended_time) <= $as_of, false) as gone} "
        "from writer_states where snapshot <= $at{ and coalesce(epoch_ns(begin_time) <= $as_of, true)})",
        (),
    ),
    "known_runs": (
        "select * {replace (if(goes_on, null, end_time) as end_time, if(goes_on, null, events) as events, "
        "if(goes_on, null, lost) as lost) }from (select *{, run in (select w.run from states s "
        "join writers w using (writer) where not s.ended) as goes_on} from ("
        + RUNS.format(ranks="(" + RANKS.format(writer_states="states") + ")")
        + ")){ where epoch_ns(begin_time) <= $as_of}",
        ("states",),
    ),
}


def source(name: str, *, until: bool) -> tuple[str, tuple[str, ...]]:
    """Return what a part of a search reads.

    Parameters
    ----------
    name : str
        ``things`` (versions and activities), ``declared``, ``ran``, ``told`` (by whom), ``of_runs`` (their runs),
        ``labels``, ``places``, ``states`` (of writers), ``known_runs``, ``members`` (the ranks of runs), and what
        these are made of.
    until : bool
        Whether what was said later than ``$as_of`` is left out.

    Returns
    -------
    query : str
        With the parameter ``$at``, and ``$as_of`` where `until` is true.
    needs : tuple of str
        The sources that it reads itself.
    """
    text, needs = _SOURCES[name]
    while "{" in text:
        before, _, rest = text.partition("{")
        inside, _, after = rest.partition("}")
        text = before + (inside if until else "") + after
    return text, needs
