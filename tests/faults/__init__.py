"""Trials that break things on purpose; ``make faults`` runs all of them, ``make test`` a few of each.

Every trial has a seed, which its failure prints; ``FAULT_SEED=<seed>`` runs that trial alone.
"""
