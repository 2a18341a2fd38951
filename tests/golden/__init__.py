"""Logs of each version of the format, as they were written, and what a reader makes of them."""
