"""Answers for other programs: NetworkX, and documents of W3C PROV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from braid_hpc.lineage.shown import INFLUENCED
from braid_hpc.store.holding import FOREVER
from braid_hpc.vocabulary.codes import ACTIVITY_KIND, COLLECTIVE_KIND, Relation
from braid_hpc.vocabulary.errors import InvalidInputError, MissingExtraError, NotFoundError
from braid_hpc.vocabulary.times import nanoseconds

if TYPE_CHECKING:
    from braid_hpc.lineage.pictured import Pictured

__all__ = ["NAMESPACE", "PROV_NODES", "to_networkx", "to_prov"]

#: A PROV document is for reading and for exchange: one of more nodes than these is refused.
PROV_NODES = 10_000

#: Namespace of ids in documents: they are global, so documents of several stores may be put together.
NAMESPACE = "urn:braid:"

_RELATIONS = {
    str(Relation.DERIVED): "wasDerivedFrom",
    str(Relation.USED): "used",
    str(Relation.GENERATED): "wasGeneratedBy",
    str(Relation.SAME_CONTENT): "alternateOf",
    str(Relation.INFORMED): "wasInformedBy",
    INFLUENCED: "wasInfluencedBy",
}


def to_networkx(answer: Pictured) -> Any:
    """Return the nodes and edges of an answer for NetworkX; see :meth:`Pictured.to_networkx`.

    Parameters
    ----------
    answer : Pictured
        Any answer with nodes and edges.

    Returns
    -------
    networkx.MultiDiGraph
        From parents to children.

    Raises
    ------
    MissingExtraError
        If networkx is not installed.
    """
    try:
        import networkx
    except ImportError as error:
        raise MissingExtraError("to_networkx() needs networkx: pip install 'braid_hpc[graphs]'") from error
    graph = networkx.MultiDiGraph()
    for node in answer.nodes:
        graph.add_node(node.ref, **{name: getattr(node, name) for name in type(node).__slots__ if name != "ref"})
    for edge in answer.edges:
        graph.add_edge(edge.parent, edge.child, key=edge.relation, relation=edge.relation)
    return graph


def to_prov(answer: Pictured) -> Any:
    """Return an answer as a document of W3C PROV; see :meth:`Pictured.to_prov`.

    Parameters
    ----------
    answer : Pictured
        Any answer with nodes and edges.

    Returns
    -------
    prov.model.ProvDocument
        Ids are ``braid:<global id>``, references stand in ``prov:label``, kinds in ``prov:type``.

    Raises
    ------
    MissingExtraError
        If prov is not installed.
    InvalidInputError
        If the answer has more nodes than :data:`PROV_NODES`, or was not made by a store.
    NotFoundError
        If the store is not where it was, or does not hold what the answer names.
    """
    try:
        from prov.model import ProvDocument
    except ImportError as error:
        raise MissingExtraError("to_prov() needs prov: pip install 'braid_hpc[graphs]'") from error
    if len(answer.nodes) > PROV_NODES:
        raise InvalidInputError(
            f"this answer has {len(answer.nodes):,} nodes, and a PROV document takes {PROV_NODES:,}: ask with a "
            "smaller depth, or for some kinds, or take table() and to_networkx()"
        )
    facts = _facts(answer)
    document = ProvDocument()
    document.add_namespace("braid", NAMESPACE)
    names = {}
    for node in answer.nodes:
        about = facts[node.ref]
        names[node.ref] = f"braid:{about['uid']}"
        told = {"prov:label": _text(node.ref), "prov:type": _text(node.kind)}
        if node.kind == ACTIVITY_KIND:
            told |= {f"braid:{key}": _text(about[key]) for key in ("status", "params", "function") if about[key]}
            document.activity(names[node.ref], about["time"], about["end"], told)
            _associate(document, names[node.ref], about)
        elif node.kind == COLLECTIVE_KIND:
            # Something that several ranks did, and none of them alone.
            document.activity(names[node.ref], about["time"], None, told)
        else:
            told |= {f"braid:{key}": _text(about[key]) for key in ("digest", "value") if about[key] is not None}
            document.entity(names[node.ref], told)
    _relate(document, answer, names, facts)
    _invalidate(document, answer, names, facts)
    return document


def _text(text: Any) -> str:
    """Return a text that XML can hold too: PROV has no other way to write the rest."""
    text = str(text)
    return "".join(
        letter if letter >= " " or letter in "\t\n\r" else "\N{REPLACEMENT CHARACTER}" for letter in str(text)
    )


def _associate(document: Any, activity: str, about: dict[str, Any]) -> None:
    """Name the rank that an activity ran on, and the user that rank acted for."""
    rank = f"braid:{about['writer']}"
    if not document.get_record(rank):
        label = f"rank {about['rank']} of run {about['run']}" if about["rank"] is not None else f"run {about['run']}"
        told = {"prov:type": "prov:SoftwareAgent", "prov:label": label, "braid:host": _text(about["host"])}
        document.agent(rank, told)
        if about["user"]:
            user = f"braid:user/{about['user']}"
            if not document.get_record(user):
                document.agent(user, {"prov:type": "prov:Person", "prov:label": _text(about["user"])})
            document.actedOnBehalfOf(rank, user)
    document.wasAssociatedWith(activity, rank)


def _relate(document: Any, answer: Pictured, names: dict[str, str], facts: dict[str, dict[str, Any]]) -> None:
    activities = {node.ref for node in answer.nodes if node.kind in (ACTIVITY_KIND, COLLECTIVE_KIND)}
    for edge in answer.edges:
        child, parent = names[edge.child], names[edge.parent]
        if edge.relation == Relation.CALLED:
            document.wasStartedBy(child, trigger=None, starter=parent)
        elif edge.relation == Relation.GENERATED:
            document.wasGeneratedBy(child, parent, facts[edge.child]["time"])
        elif edge.child in activities and edge.parent in activities:
            document.wasInformedBy(child, parent)
        else:
            getattr(document, _RELATIONS.get(edge.relation, "wasInfluencedBy"))(child, parent)


def _invalidate(document: Any, answer: Pictured, names: dict[str, str], facts: dict[str, dict[str, Any]]) -> None:
    for node in answer.nodes:
        if not node.valid and node.kind not in (ACTIVITY_KIND, COLLECTIVE_KIND):
            told = {"braid:cause": _text(node.cause)}
            document.wasInvalidatedBy(names[node.ref], None, facts[node.ref]["invalidated"], other_attributes=told)


def _facts(answer: Pictured) -> dict[str, dict[str, Any]]:
    """Return ids, times, contents and agents of the nodes, from the store that gave the answer."""
    from braid_hpc.store.store import Store

    source = answer.source
    if source is None:
        raise InvalidInputError("this answer was not made by a store: to_prov() takes times and agents from there")
    nodes = answer.nodes
    given = {
        "kinds": [node.kind for node in nodes],
        "names": [node.name for node in nodes],
        "versions": [node.version for node in nodes],
        "at": source.at,
        "as_of": FOREVER if source.as_of is None else source.as_of,
    }
    with Store(source.path) as store:
        rows = store.sql(_FACTS, given).to_pylist()
        judged = store.judgements(at=source.at, as_of=source.as_of)
    found = {(row["kind"], row["name"], row["version"]): row for row in rows}
    facts = {}
    for node in nodes:
        row = found.get((node.kind, node.name, node.version))
        if row is None:
            raise NotFoundError(f"{source.path} does not hold {node.ref} any more: it is another store")
        time = judged[row["id"]].time if row["id"] in judged else None
        times = {"time": nanoseconds(row["time"]), "end": nanoseconds(row["end"]), "invalidated": time}
        facts[node.ref] = {**row, **{name: None if each is None else _moment(each) for name, each in times.items()}}
    return facts


def _moment(time: int) -> Any:
    """Return a time to the microsecond: prov's own reader takes no more."""
    import datetime

    return datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=time // 1000)


#: prov, and its texts, know of microseconds.
_FACTS = """
    with asked as (select unnest($kinds::varchar[]) as kind, unnest($names::varchar[]) as name,
        unnest($versions::integer[]) as version),
    declared as (
        select id, min(time) as time, arg_min(value, (time, writer, sequence)) as value from occurrences
        where snapshot <= $at and epoch_ns(time) <= $as_of group by id),
    ended as (
        select *, row_number() over (
            partition by begun_by, begun_at order by writer <> begun_by, writer, sequence) as choice
        from activity_ends where snapshot <= $at and epoch_ns(end_time) <= $as_of)
    select v.id, v.uid, v.kind, v.name, v.version, v.digest, d.value, d.time::timestamp as time, null::timestamp as end,
        null as status, null as params, null as function, null as writer, null as run, null::integer as rank,
        null as host, null as user
    from version_rows v left join declared d using (id)
    where (v.kind, v.name, v.version) in (select (kind, name, version) from asked)
    union all
    select a.id, a.uid, 'activity', a.name, a.version, null, null, a.begin_time::timestamp, e.end_time::timestamp,
        coalesce(e.status, 'unfinished'), a.params, a.function, a.writer, a.run, w.rank,
        w.header ->> '$.host', w.header ->> '$.user'
    from activity_rows a join writers w using (writer)
    left join ended e on e.begun_by = a.writer and e.begun_at = a.sequence and e.choice = 1
    where ('activity', a.name, a.version) in (select (kind, name, version) from asked)
"""
