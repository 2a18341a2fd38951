"""Adapters that turn something real into events of the vocabulary.

Imported as ``braid_hpc.collectors``. A collector uses only the public interface of a run.
"""
