"""The store: one DuckDB file for each snapshot, append-only tables, views of the current state."""
