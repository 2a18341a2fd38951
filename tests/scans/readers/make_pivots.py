"""Write what databroker makes of events with arrays, of the documents that are there (``make readers``)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from databroker.pivot import pivot_timeseries

HERE = Path(__file__).resolve().parent


def pivoted(documents: list[Any], keys: list[str], static: list[str]) -> list[dict[str, Any]]:
    """Give the rows that databroker makes of the events of a run."""
    (descriptor,) = [document for name, document in documents if name == "descriptor"]
    events = [{**document, "descriptor": descriptor} for name, document in documents if name == "event"]
    return [{**each["data"], "time": each["time"]} for each in pivot_timeseries(events, keys, static)]


def main(folder: Path) -> None:
    """Read the documents of a case, and write the rows."""
    documents = [json.loads(line) for line in (folder / "spectra.jsonl").read_text().splitlines()]
    rows = pivoted(documents, ["spec_spectrum"], ["spec_label", "spec_number"])
    (folder / "pivots.json").write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n")
    print(len(rows), "rows")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
