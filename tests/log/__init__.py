"""Tests of writing a rank log."""
