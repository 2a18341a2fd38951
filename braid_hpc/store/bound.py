"""Values that stand beside a statement of SQL, so that nothing of what was asked stands in its text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from braid_hpc.vocabulary.texts import clean

__all__ = ["Bound"]


@dataclass(slots=True)
class Bound:
    """Values that stand beside a statement, in the order they were given.

    Attributes
    ----------
    values : dict of str to object
        By the names that stand in the statement.
    """

    values: dict[str, Any] = field(default_factory=dict)

    def __call__(self, value: Any) -> str:
        """Keep a value.

        Parameters
        ----------
        value : object
            What DuckDB takes as a parameter.

        Returns
        -------
        str
            What stands for it.
        """
        name = f"v{len(self.values)}"
        self.values[name] = clean(value) if isinstance(value, str) else value
        return f"${name}"

    def integer(self, value: int) -> str:
        """Keep an integer of up to 128 bits.

        Parameters
        ----------
        value : int
            Any that fits.

        Returns
        -------
        str
            What stands for it.
        """
        return f"{self(str(value))}::hugeint"
