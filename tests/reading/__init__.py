"""Tests of reading rank logs."""
