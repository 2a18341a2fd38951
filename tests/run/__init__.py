"""Tests of what a program on a rank calls."""
