"""Lineage: walking the graph, and answers that say how complete they are."""
