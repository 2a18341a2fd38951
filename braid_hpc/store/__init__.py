"""The store, read: references, tables, arrays and answers of one snapshot."""
