"""Writing a rank log: the tail that every event goes into, its sealing, the directory, the background thread.

This room knows rows, bytes and files, and nothing of records, activities or streams. Its format is specified
in ``docs/log-format.md``.
"""
