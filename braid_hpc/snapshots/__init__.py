"""The files of a store: its numbered snapshots, their tables and views, and connections to them."""
