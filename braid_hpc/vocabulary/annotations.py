"""Annotations: what anyone says of a record at any time, as rows of a stream (``docs/annotations.md``)."""

from __future__ import annotations

__all__ = ["ANNOTATIONS", "ANNOTATION_COLUMNS", "ANNOTATION_CONTENT", "NOTE", "TAG", "UNTAG"]

#: The stream.
ANNOTATIONS = "braid/annotations"

#: ``about`` is the global id of a version or an activity; ``what`` one of the three below; ``type`` and ``text`` are a
#: value as tags have it.
ANNOTATION_COLUMNS = {"about": "text", "what": "text", "key": "text", "type": "text", "text": "text"}

#: What its record consists of: each who annotates declares the stream, and all of them mean one.
ANNOTATION_CONTENT = "stream:braid/annotations"

TAG, UNTAG, NOTE = "tag", "untag", "note"
