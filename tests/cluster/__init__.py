"""Tests on a real Slurm of two nodes, which the session starts on this machine."""
