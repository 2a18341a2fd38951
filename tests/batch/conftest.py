"""The command line, as the tests of its own room call it."""

from tests.cli.conftest import cli

__all__ = ["cli"]
