"""Documents of an instrument (Bluesky's event model): recorded word for word, events as typed rows.

>>> from braid_hpc.collectors.documents import DocumentCollector

The page ``documents`` specifies what becomes of each. Nothing here imports Bluesky.
"""

from __future__ import annotations

from braid_hpc.collectors.documents.collector import DocumentCollector

__all__ = ["DocumentCollector"]
