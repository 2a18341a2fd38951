"""Drawings for notebooks: bounded, exact in what they fold, and harmless whatever names are."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

from hypothesis import example, given, settings
from hypothesis import strategies as st

from braid_hpc.lineage.answer import LineageEdge, LineageNode
from braid_hpc.lineage.picture import MOST_MARKS, picture

SVG = "{http://www.w3.org/2000/svg}"


def node(ref: str, distance: int = 1, kind: str = "data", *, valid: bool = True) -> LineageNode:
    return LineageNode(ref, kind, ref, 1, distance, valid, None if valid else "cause")


def edge(child: str, parent: str) -> LineageEdge:
    return LineageEdge(child, parent, "wasDerivedFrom")


def marks(text: str) -> tuple[list[ElementTree.Element], list[ElementTree.Element], list[ElementTree.Element]]:
    """Give boxes, folds and lines."""
    root = ElementTree.fromstring(text)
    found = [each for each in root.iter() if each.get("class")]
    return tuple([each for each in found if each.get("class") == kind] for kind in ("box", "fold", "line"))  # type: ignore[return-value]


def texts(text: str) -> list[str]:
    return ["".join(each.itertext()) for each in ElementTree.fromstring(text).iter(f"{SVG}text")]


def test_a_small_answer_is_drawn_whole() -> None:
    nodes = [node("a", 0), node("b"), node("c", kind="activity"), node("d", 2, valid=False)]
    drawn = picture(nodes, [edge("a", "b"), edge("a", "c"), edge("b", "d"), edge("c", "d")])
    boxes, folds, lines = marks(drawn)
    assert (len(boxes), len(folds), len(lines)) == (4, 0, 4)
    assert texts(drawn)[-1] == "4 nodes, 4 edges"
    assert picture([], []) == ""


def test_many_kinds_are_counted_where_they_do_not_fit() -> None:
    nodes = [node("hub", 0), *(node(f"n{n}", kind=f"kind-{n % 4}") for n in range(40))]
    drawn = picture(nodes, [edge(each.ref, "hub") for each in nodes[1:]])
    assert "40 nodes, 4 kinds" in texts(drawn)
    assert "not drawn: 10 kind-0, 10 kind-1, 10 kind-2, 10 kind-3" in drawn


def test_lines_lead_to_the_right() -> None:
    """From what fed to what came of it, also where a way is longer than the shortest one."""
    nodes = [node("a", 0), *(node(n) for n in "bcd")]
    drawn = picture(nodes, [edge("a", "b"), edge("a", "c"), edge("b", "c"), edge("c", "d"), edge("a", "d")])
    place = {}
    for group in ElementTree.fromstring(drawn).iter(f"{SVG}g"):
        box = group.find(f"{SVG}rect")
        assert box is not None
        place[group.findtext(f"{SVG}text")] = int(box.get("x", ""))
    assert place["d"] < place["c"] < place["b"] < place["a"]


def test_many_neighbours_are_one_mark_with_their_number() -> None:
    nodes = [
        node("hub", 0),
        *(node(f"data:{n}") for n in range(1234)),
        *(node(f"m{n}", kind="model") for n in range(5)),
    ]
    drawn = picture(nodes, [edge(each.ref, "hub") for each in nodes[1:]])
    boxes, folds, lines = marks(drawn)
    assert (len(boxes), len(folds), len(lines)) == (1, 1, 1)
    assert "1,234 data, 5 model" in texts(drawn)
    assert "not drawn: 1,234 data, 5 model" in drawn
    assert "1,240 nodes, 1,239 edges; 1,239 nodes not drawn" in texts(drawn)


def test_what_nobody_looked_at_is_not_counted_as_nothing() -> None:
    """Where an answer was cut, the drawing says by how much, and that a node may have more neighbours than it has."""
    nodes = [node("hub", 0), *(node(f"n{n}") for n in range(30))]
    drawn = picture(nodes, [edge(each.ref, "hub") for each in nodes[1:]], left_out=4_970)
    assert "31 nodes, 30 edges; 30 nodes not drawn; 4,970 more are beyond the limit" in texts(drawn)
    assert "30+ data" in texts(drawn)
    assert "not drawn: 30+ data" in drawn


@given(st.text(st.characters(exclude_categories=[])))
@example("\ufffe\uffff\ud800\x00\x1b\x85\r\U0001fffe")
def test_any_name_is_valid_xml(name: str) -> None:
    """With what XML cannot hold, lone surrogates and control characters, too."""
    drawn = picture([node(name, 0), node("other", valid=False)], [edge(name, "other")] if name != "other" else [])
    ElementTree.fromstring(drawn)


@settings(max_examples=60)
@given(data=st.data(), size=st.integers(1, 400), mean=st.integers(1, 12))
def test_never_more_marks_and_every_neighbour_is_drawn_or_counted(data: st.DataObject, size: int, mean: int) -> None:
    """On any graph, cycles included."""
    pick = data.draw(st.randoms(use_true_random=False))
    nodes = [node(f"n{n}", pick.randrange(4) if n else 0) for n in range(size)]
    edges = {edge(f"n{pick.randrange(size)}", f"n{pick.randrange(size)}") for _ in range(size * mean // 2)}
    drawn = picture(nodes, list(edges))
    boxes, folds, lines = marks(drawn)
    assert len(boxes) + len(folds) + len(lines) <= MOST_MARKS
    shown = {text for text in texts(drawn) if re.fullmatch(r"n\d+", text)}
    counted = sum(int(text.split()[0].replace(",", "")) for text in texts(drawn) if re.fullmatch(r"[\d,]+ data", text))
    apart = {(e.child, e.parent) for e in edges if e.child != e.parent}
    between = {pair for pair in apart if (pair[0] in shown) != (pair[1] in shown)}
    assert counted == len(between)
    assert len(lines) == len(folds) + sum(1 for pair in apart if set(pair) <= shown)


def test_names_are_text() -> None:
    """Markup, quotes, line breaks, emoji, control characters, lone surrogates, 64 KiB: well-formed, and no script."""
    odd = ['<script>alert("x")</script>', "a\nb", "🧵&amp;", "\x00\x07", "\udc80", "x" * 65_536, "]]>"]
    nodes = [node(name, index, valid=index % 2 == 0) for index, name in enumerate(odd)]
    drawn = picture(nodes, [edge(a.ref, b.ref) for a, b in pairwise(nodes)])
    ElementTree.fromstring(drawn)
    assert "<script" not in drawn
    assert len(drawn) < 20_000
    assert not re.search(r"\bon\w+=|href=|javascript:", drawn)
