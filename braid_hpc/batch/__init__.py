"""Batch jobs: submitted from one specification, survived, and their logs brought home.

Imported as ``braid_hpc.batch``. Nothing that runs on a rank imports it.

Examples
--------
>>> import braid_hpc as braid
>>> done = braid.batch.submit({"command": "python fit.py", "time": "2 h", "nodes": 2}, scheduler="local", dry_run=True)
>>> done.commands[0].split()[0]
'setsid'
"""

from __future__ import annotations

from braid_hpc.batch.listing import Job, cancel, jobs
from braid_hpc.batch.specification import Specification, read_specification
from braid_hpc.batch.submission import Submission, submit

__all__ = ["Job", "Specification", "Submission", "cancel", "jobs", "read_specification", "submit"]
