"""Tests that are themselves ranks: `mpirun -n 4 python -m pytest --only-mpi`."""
