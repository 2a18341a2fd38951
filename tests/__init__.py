"""Tests of braid_hpc; they mirror the sources, file by file."""
