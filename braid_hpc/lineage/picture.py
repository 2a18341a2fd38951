"""The neighbourhood of a node as a drawing (SVG), for notebooks.

It has no script and fetches nothing. What does not fit is folded: a mark beside a node stands for its neighbours that
are not drawn, with their exact number.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from braid_hpc.lineage.order import in_order
from braid_hpc.vocabulary.codes import ACTIVITY_KIND

if TYPE_CHECKING:
    from braid_hpc.lineage.answer import LineageEdge, LineageNode

__all__ = ["MOST_MARKS", "picture"]

#: Boxes, folds and lines of a drawing, together.
MOST_MARKS = 300

#: Neighbours of a node on one side that are drawn each; more are one mark.
_FEW = 8

#: Edges from the first node that are followed: a drawing that is wider than a page cannot be read.
_FAR = 4

_WIDTH, _HEIGHT, _ACROSS, _DOWN, _EDGE = 156, 26, 46, 10, 12
_LETTERS = 22

#: What XML 1.0 cannot hold, not even as an entity; a carriage return it would read as a line end.
_NO_XML = re.compile("[^\t\n -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]").match


@dataclass(slots=True)
class _Drawing:
    """What is drawn so far."""

    nodes: dict[str, LineageNode]
    parents: dict[str, dict[str, str]] = field(default_factory=dict)
    children: dict[str, dict[str, str]] = field(default_factory=dict)
    distance: dict[str, int] = field(default_factory=dict)
    folds: dict[tuple[str, int], Counter[str]] = field(default_factory=dict)
    lines: int = 0

    @property
    def marks(self) -> int:
        """Boxes and lines; each box may yet get a fold with a line on either side."""
        return len(self.distance) + self.lines + 4 * len(self.distance)

    def fits(self, fresh: list[str]) -> bool:
        """Whether some nodes and their lines may be drawn too."""
        drawn = {*self.distance, *fresh}
        lines = sum(len(drawn & side[node].keys()) for node in fresh for side in (self.parents, self.children))
        return self.marks + 5 * len(fresh) + lines <= MOST_MARKS

    def add(self, node: str, distance: int) -> None:
        """Draw a node and its lines to what is drawn already."""
        self.distance[node] = distance
        self.lines += sum(1 for side in (self.parents, self.children) for near in side[node] if near in self.distance)

    def columns(self) -> dict[str, int]:
        """Return a column for each node, so that lines lead to the right; those of a cycle cannot all do that."""
        number = {ref: place for place, ref in enumerate(self.distance)}
        drawn = [(c, p) for c in number for p in self.parents[c] if p in number]
        order, _ = in_order({place: place for place in number.values()}, [(number[c], number[p]) for c, p in drawn])
        refs = list(self.distance)
        place = {refs[node]: index for index, node in enumerate(order)}
        column: dict[str, int] = {}
        for ref in sorted(place, key=place.__getitem__):
            before = [column[near] for near in self.parents[ref] if place.get(near, len(place)) < place[ref]]
            column[ref] = max(before, default=-1) + 1
        # As near as they can be to what came of them.
        for ref in sorted(place, key=place.__getitem__, reverse=True):
            after = [column[near] for near in self.children[ref] if place.get(near, -1) > place[ref]]
            if after:
                column[ref] = min(after) - 1
        return column


def picture(nodes: Sequence[LineageNode], edges: Sequence[LineageEdge], *, left_out: int = 0) -> str:
    """Draw the neighbourhood of a node.

    Parameters
    ----------
    nodes : sequence of LineageNode
        The first is in the middle.
    edges : sequence of LineageEdge
        Among these nodes.
    left_out : int
        How many further nodes hang together with these, and are not among them: the drawing says so, and tells of
        what is not drawn beside a node that there may be more.

    Returns
    -------
    str
        An ``svg`` element in a ``div``, from parents on the left to children on the right, with at most
        :data:`MOST_MARKS` boxes and lines; empty if there are no nodes.
    """
    if not nodes:
        return ""
    drawing = _chosen(nodes, edges)
    places = _places(drawing)
    height = max(y for _, y in places.values()) + _HEIGHT + _EDGE
    width = max(x for x, _ in places.values()) + _WIDTH + _EDGE
    hidden = len(nodes) - len(drawing.distance)
    note = f"{_count(len(nodes), 'node')}, {_count(len(edges), 'edge')}"
    note += f"; {_count(hidden, 'node')} not drawn" if hidden else ""
    note += f"; {left_out:,} more {'is' if left_out == 1 else 'are'} beyond the limit" if left_out else ""
    parts = [
        f'<div style="overflow-x:auto"><svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height + 20}" '
        f'viewBox="0 0 {width} {height + 20}" role="img" font-family="sans-serif" font-size="12">',
        f"<title>{_escape(note)}</title>",
        f'<rect width="{width}" height="{height + 20}" fill="#ffffff"/>',
        *_lines(drawing, places),
        *_boxes(drawing, places, nodes[0].ref),
        *_folds(drawing, places, least=bool(left_out)),
        f'<text x="{_EDGE}" y="{height + 10}" fill="#555555" font-size="11">{_escape(note)}</text>',
        "</svg></div>",
    ]
    return "".join(parts)


def _chosen(nodes: Sequence[LineageNode], edges: Sequence[LineageEdge]) -> _Drawing:
    """Choose what is drawn: from the first node outwards, all neighbours on a side or none of them."""
    drawing = _Drawing({node.ref: node for node in nodes})
    for node in nodes:
        drawing.parents[node.ref], drawing.children[node.ref] = {}, {}
    for edge in edges:
        if edge.child != edge.parent:
            drawing.parents[edge.child][edge.parent] = edge.relation
            drawing.children[edge.parent][edge.child] = edge.relation
    # What was as new as the first node begins there too.
    begin = [node.ref for node in nodes if node.distance == nodes[0].distance][:_FEW]
    for ref in begin if any(drawing.parents[ref] or drawing.children[ref] for ref in begin) else begin[:1]:
        drawing.add(ref, 0)
    queue = list(drawing.distance)
    for ref in queue:
        for side in (drawing.parents, drawing.children):
            fresh = [near for near in side[ref] if near not in drawing.distance]
            if fresh and len(fresh) <= _FEW and drawing.distance[ref] < _FAR and drawing.fits(fresh):
                for near in fresh:
                    drawing.add(near, drawing.distance[ref] + 1)
                queue.extend(fresh)
    for ref in drawing.distance:
        for side, step in ((drawing.parents, -1), (drawing.children, 1)):
            kinds = Counter(drawing.nodes[near].kind for near in side[ref] if near not in drawing.distance)
            if kinds:
                drawing.folds[ref, step] = kinds
    return drawing


def _places(drawing: _Drawing) -> dict[tuple[str, int], tuple[int, int]]:
    """Return the upper left corner of each box (side 0) and of each fold (side -1 or 1)."""
    columns: dict[int, list[tuple[str, int]]] = {}
    column = drawing.columns()
    for ref, number in column.items():
        columns.setdefault(number, []).append((ref, 0))
    for ref, step in drawing.folds:
        columns.setdefault(column[ref] + step, []).append((ref, step))
    row: dict[tuple[str, int], float] = {}
    first = column[next(iter(column))]
    for number in sorted(columns, key=lambda each: (abs(each - first), each)):
        # Beside what they hang on, so that few lines cross.
        columns[number].sort(key=lambda mark: (_beside(drawing, mark, row), mark[1] != 0))
        for index, mark in enumerate(columns[number]):
            row[mark] = index - len(columns[number]) / 2
    tallest = max(len(each) for each in columns.values())
    order = sorted(columns)
    found = {}
    for x, number in enumerate(order):
        above = (tallest - len(columns[number])) / 2
        for index, mark in enumerate(columns[number]):
            found[mark] = (
                _EDGE + x * (_WIDTH + _ACROSS),
                _EDGE + round((above + index) * (_HEIGHT + _DOWN)),
            )
    return found


def _beside(drawing: _Drawing, mark: tuple[str, int], row: dict[tuple[str, int], float]) -> float:
    ref, step = mark
    if step:
        return row.get((ref, 0), 0.0)
    near = [row[other, 0] for side in (drawing.parents, drawing.children) for other in side[ref] if (other, 0) in row]
    return sum(near) / len(near) if near else 0.0


def _lines(drawing: _Drawing, places: dict[tuple[str, int], tuple[int, int]]) -> list[str]:
    found = []
    for child in drawing.distance:
        for parent, relation in drawing.parents[child].items():
            if parent in drawing.distance:
                ends = places[parent, 0], places[child, 0]
                found.append(_line(*ends, f"{_short(child, 80)} {relation} {_short(parent, 80)}"))
    for ref, step in drawing.folds:
        ends = (places[ref, step], places[ref, 0])
        found.append(_line(*(ends if step < 0 else ends[::-1]), None))
    return found


def _line(begin: tuple[int, int], end: tuple[int, int], title: str | None) -> str:
    x1, y1, y2 = begin[0] + _WIDTH, begin[1] + _HEIGHT // 2, end[1] + _HEIGHT // 2
    x2 = end[0] - 5
    if end[0] > begin[0]:
        bend = max(24, (x2 - x1) // 2)
        path = f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
    else:
        # Within a column, or back: around the right side.
        x2 = end[0] + _WIDTH + 5
        path = f"M{x1} {y1}C{x1 + 40} {y1} {x2 + 40} {y2} {x2} {y2}"
    dashes = ' stroke-dasharray="3 3"' if title is None else ""
    head = 5 if end[0] > begin[0] else -5
    tip = f"M{x2} {y2 - 4}L{x2 + head} {y2}L{x2} {y2 + 4}"
    said = "" if title is None else f"<title>{_escape(title)}</title>"
    return f'<path class="line" d="{path}{tip}" fill="none" stroke="#777777"{dashes}>{said}</path>'


def _boxes(drawing: _Drawing, places: dict[tuple[str, int], tuple[int, int]], first: str) -> list[str]:
    found = []
    for ref in drawing.distance:
        node, (x, y) = drawing.nodes[ref], places[ref, 0]
        round_, stroke, fill = (13, "#3569a8", "#eaf1fa") if node.kind == ACTIVITY_KIND else (3, "#4d4d4d", "#f7f7f2")
        style = ""
        if not node.valid:
            stroke, fill, style = "#bb0000", "#fdeeee", ' stroke-dasharray="5 3"'
        if ref == first:
            style += ' stroke-width="2.5"'
        why = "" if node.valid else f"\ninvalid: {_short(node.cause or '', 200)}"
        found.append(
            f'<g><title>{_escape(_short(ref, 200) + why)}</title><rect class="box" x="{x}" y="{y}" width="{_WIDTH}" '
            f'height="{_HEIGHT}" rx="{round_}" fill="{fill}" stroke="{stroke}"{style}/>'
            f'<text x="{x + _WIDTH // 2}" y="{y + 17}" text-anchor="middle" fill="#111111">{_label(ref)}</text></g>'
        )
    return found


def _folds(drawing: _Drawing, places: dict[tuple[str, int], tuple[int, int]], *, least: bool) -> list[str]:
    """Draw what stands for neighbours; where some nodes are not known here, their numbers are the least."""
    found, more = [], "+" if least else ""
    for mark, kinds in drawing.folds.items():
        x, y = places[mark]
        most = kinds.most_common()
        total = sum(kinds.values())
        said = ", ".join(f"{count:,}{more} {kind}" for kind, count in most)
        text = said if len(said) <= _LETTERS else f"{total:,}{more} nodes, {_count(len(most), 'kind')}"
        found.append(
            f'<g><title>{_escape(f"not drawn: {said}")}</title><rect class="fold" x="{x}" y="{y}" width="{_WIDTH}" '
            f'height="{_HEIGHT}" rx="3" fill="#ffffff" stroke="#999999" stroke-dasharray="2 3"/>'
            f'<text x="{x + _WIDTH // 2}" y="{y + 17}" text-anchor="middle" fill="#555555" font-style="italic">'
            f"{_escape(text)}</text></g>"
        )
    return found


def _label(ref: str) -> str:
    """Return a reference that fits its box: the end of it tells more than the middle."""
    text = _clean(ref)
    if len(text) > _LETTERS:
        text = f"{text[: _LETTERS - 10]}…{text[-9:]}"
    return _escape(text)


def _short(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[:letters]}… ({len(text):,} letters)"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _clean(text: str) -> str:
    return " ".join(text.split())


def _escape(text: str) -> str:
    """Return text for SVG: markup as letters, and letters that it cannot hold as such."""
    return html.escape("".join("�" if _NO_XML(each) else each for each in text))
