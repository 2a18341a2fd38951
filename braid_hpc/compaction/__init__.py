"""Compaction: rank logs in, one new snapshot of a store out, exactly once."""
