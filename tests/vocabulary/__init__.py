"""Tests of the words everything is said in."""
