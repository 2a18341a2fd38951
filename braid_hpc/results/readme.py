"""The readme of a dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from braid_hpc.results.dataset import Dataset

__all__ = ["readme_text"]

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def readme_text(dataset: Dataset, made: Iterable[str] = ()) -> str:
    """Describe a dataset for people.

    Parameters
    ----------
    dataset : Dataset
        What is described.
    made : iterable of str
        How it was made, a line each.

    Returns
    -------
    str
        Markdown. The same dataset has the same text.
    """
    lines = [
        f"# {dataset.name}",
        "",
        dataset.readme.strip(),
        "",
        f"{len(dataset)} members, version `{dataset.version}`.",
        "",
        "| column | holds |",
        "|---|---|",
        *(f"| `{name}` | {_files(dataset[name])} |" for name in dataset.file_columns),
        *(f"| `{name}` | {_values(dataset[name])} |" for name in dataset.columns[len(dataset.file_columns) :]),
        "",
        "`manifest.parquet` has a row for each member, with size and BLAKE3 digest of each file.",
    ]
    told = [f"- {line}" for line in made]
    if told:
        lines += ["", "## How it was made", "", *told]
    return "\n".join([*lines, ""])


def _files(files: list[Any]) -> str:
    size, unit = float(sum(file.size for file in files)), 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    kinds = ", ".join(sorted({file.media_type for file in files}))
    return f"files of {kinds}, {size:.3g} {_UNITS[unit]} in all"


def _values(values: list[Any]) -> str:
    there = [value for value in values if value is not None]
    if not there:
        return "nothing"
    kind = "numbers" if isinstance(there[0], (int, float)) and not isinstance(there[0], bool) else "values"
    said = f"{len(set(there))} different {kind}"
    if kind == "numbers":
        said += f", {min(there):g} to {max(there):g}"
    elif len(set(there)) <= 8:
        counts = sorted(Counter(there).items(), key=lambda pair: str(pair[0]))
        said = ", ".join(f"{_plain(value)} ({count})" for value, count in counts)
    return said if len(there) == len(values) else f"{said}; {len(values) - len(there)} without"


def _plain(value: Any) -> str:
    """Show a value in a table of Markdown, in one line."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(value)).replace("|", "\\|")[:60]
