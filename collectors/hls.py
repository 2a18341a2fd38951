"""From a model to its firmware: what a compiler for FPGAs made of it, and how far its arithmetic is from the model's.

Made for projects of hls4ml, which is not imported: a project is a folder of files, and predictions are arrays.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.collectors.fpga import Firmware
from braid_hpc.collectors.losses import Collecting
from braid_hpc.run.guard import recording
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from braid_hpc.vocabulary.regular import open_regular

if TYPE_CHECKING:
    from braid_hpc.run.handles import Record
    from braid_hpc.run.recorder import Run

__all__ = ["LEFT_OUT", "STAMPED", "EmulationCollector", "project_files", "project_firmware"]

#: Files of a project that are no source of it: what was compiled of it here, and archives.
LEFT_OUT = ("*.so", "*.o", "*.a", "*.tar.gz", "*.log", "__pycache__/*", "tb_data/*")

#: Files that hls4ml writes with a new stamp each time: they are recorded, and do not make another firmware.
STAMPED = ("hls4ml_config.yml", "build_lib.sh", "keras_model.keras")


def project_files(folder: str | os.PathLike[str], *, left_out: Iterable[str] = LEFT_OUT) -> dict[str, str]:
    """Take the digests of a project's files.

    Parameters
    ----------
    folder : path-like
        The project.
    left_out : iterable of str
        Patterns of names, or of paths within the folder, that do not belong to it.

    Returns
    -------
    dict of str to str
        Path within the folder to ``blake3:<hex>``, by path.

    Raises
    ------
    NotFoundError
        If there is no such folder, or no file in it.
    OSError
        If a file cannot be read.
    """
    from blake3 import blake3

    root, patterns = Path(folder), tuple(left_out)
    found: dict[str, str] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if not path.is_file() or _matches(name, patterns):
            continue
        digest = blake3()
        with open_regular(path) as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        found[name] = f"blake3:{digest.hexdigest()}"
    if not found:
        raise NotFoundError(f"there is no project in {root}")
    return found


def project_firmware(
    folder: str | os.PathLike[str],
    id: int = 0,
    *,
    name: str = "firmware",
    model: Any = None,
    registers: Mapping[str, Any] | None = None,
    left_out: Iterable[str] = LEFT_OUT,
    stamped: Iterable[str] = STAMPED,
) -> Firmware:
    """Make a firmware of a project: its digest is that of the paths and digests of its files, but for stamped ones.

    Parameters
    ----------
    folder : path-like
        The project.
    id : int
        As its frames carry it.
    name : str
        Of its record.
    model : Record, str, or list of these, optional
        What the project was made of.
    registers : mapping, optional
        Values of its registers.
    left_out : iterable of str
        As for :func:`project_files`.
    stamped : iterable of str
        Patterns likewise, of files whose digests are kept and do not count.

    Returns
    -------
    Firmware
        Whose record keeps the digest of each file.

    Raises
    ------
    NotFoundError
        If there is no such folder, or no file in it.
    OSError
        If a file cannot be read.

    Examples
    --------
    >>> from pathlib import Path
    >>> Path("project").mkdir()
    >>> _ = Path("project/top.cpp").write_text("void top() {}")
    >>> list(project_firmware("project", 7).files)
    ['top.cpp']
    """
    from blake3 import blake3

    files, apart = project_files(folder, left_out=left_out), tuple(stamped)
    lasting = {path: digest for path, digest in files.items() if not _matches(path, apart)}
    whole = blake3("".join(f"{path}\0{digest}\n" for path, digest in (lasting or files).items()).encode())
    return Firmware(
        id,
        name,
        digest=f"blake3:{whole.hexdigest()}",
        model=model,
        registers=dict(registers or {}),
        files=files,
        tags={"project": Path(folder).absolute().as_uri()},
    )


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    name = path.rpartition("/")[2]
    return any(fnmatch.fnmatchcase(part, one) for part in (path, name) for one in patterns)


class EmulationCollector(Collecting):
    """Records what a firmware is emulated to predict, beside what its model predicts.

    Rows go to the stream ``<name>_emulated``: ``sample`` and ``output`` (counted from 0), ``model``, ``emulated``. At
    its end the collector states a test about the firmware, ``<name> emulated within <bound>``: whether no prediction
    deviates by more. Predictions that are not finite are recorded too, counted, and fail the test.

    Parameters
    ----------
    run : Run
        Where events go.
    name : str
        Of the comparison.
    firmware : Record
        What is emulated, from :meth:`braid_hpc.collectors.fpga.Firmware.declare`.
    within : float
        Largest deviation that passes, in the unit of the predictions.
    inputs : Record, optional
        What the predictions are of.
    """

    def __init__(self, run: Run, name: str, *, firmware: Record, within: float, inputs: Record | None = None) -> None:
        super().__init__(run, "emulation", source=name)
        self._firmware = firmware
        self._within = within
        parents = [firmware] if inputs is None else [firmware, inputs]
        columns = {"sample": "uint64", "output": "uint32", "model": "float64", "emulated": "float64"}
        self._stream = run.stream(f"{name}_emulated", columns, derived_from=parents)
        self._name = name
        self._rows = 0
        #: Largest deviation so far; NaN where nothing finite was compared.
        self.largest = float("nan")

    @recording
    def compare(self, model: Any, emulated: Any) -> None:
        """Record a batch of predictions.

        Parameters
        ----------
        model, emulated : array_like, shape (samples,) or (samples, outputs)
            Of the same samples, in the same unit.

        Raises
        ------
        InvalidInputError
            Only under ``BRAID_STRICT=1``: if they are no numbers, or not of one shape.
        """
        import numpy as np

        try:
            one, other = (np.asarray(given, np.float64) for given in (model, emulated))
        except (TypeError, ValueError) as error:
            raise InvalidInputError(f"predictions are arrays of numbers: {error}") from None
        if one.ndim == 0 or one.shape[0] != other.shape[0] or one.size != other.size or one.ndim > 2:
            raise InvalidInputError(f"predictions of the shapes {one.shape} and {other.shape} cannot be compared")
        if not one.size:
            return
        samples = one.shape[0]
        one, other = one.reshape(samples, -1), other.reshape(samples, -1)
        sample, output = np.divmod(np.arange(one.size, dtype=np.uint64), np.uint64(one.shape[1]))
        self._stream.extend(
            {
                "sample": sample + np.uint64(self._rows),
                "output": output.astype(np.uint32),
                "model": one.ravel(),
                "emulated": other.ravel(),
            }
        )
        finite = np.isfinite(one) & np.isfinite(other)
        for row in np.flatnonzero(~finite.all(axis=1)).tolist():
            self._losses.count("not finite", unit="sample", first=self._rows + row)
        if finite.any():
            deviation = float(np.abs(one[finite] - other[finite]).max())
            self.largest = deviation if not self.largest >= deviation else self.largest
        self._rows += samples
        self._losses.write()

    def _finish(self) -> None:
        passed = bool(self.largest <= self._within) and not self._losses
        name = f"{self._name} emulated within {self._within}"
        self._run.statement(name, about=self._firmware, value=self.largest, passed=passed)
