"""``python -m braid_hpc`` is the command ``braid``."""

from braid_hpc.cli import main

main()
