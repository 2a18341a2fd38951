"""Reading rank logs: every row that verifies, and what is to be said of the rest.

This room opens files for reading only. It needs NumPy, and pyarrow for sealed batches; it runs where logs are
compacted or checked, never on a rank that records.
"""
