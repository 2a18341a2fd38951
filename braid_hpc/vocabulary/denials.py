"""How it is recorded that code is denied: what it made, and will have made, is not to be relied on."""

from __future__ import annotations

__all__ = ["DENIALS", "DENIAL_COLUMNS"]

#: The stream with denials; of several rows of one revision the newest counts.
DENIALS = "braid.denials"

#: The beginning of a commit, or of the digest of a script or of a function's source; why; False takes it back.
DENIAL_COLUMNS = {"revision": "text", "cause": "text", "denied": "bool"}
