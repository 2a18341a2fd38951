"""The steps as tasks, and how they follow on each other.

Functions take and return values. Where these lie is said above each function, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import braid_hpc as braid
from braid_hpc.demos.cells.images import CHANNELS, STRUCTURES, principal_components, projection, scaled, volume
from braid_hpc.results import DatasetResult, Json, LocalResult, OmeTiff, Png

__all__ = ["compare", "flow", "normalize", "normalized", "project", "projections", "select"]

Cells = list[dict[str, Any]]

#: Calls a task for each of some arguments, on whatever there is.
Map = Callable[..., Iterable[Any]]


@braid.task(version="1", result=LocalResult("staging/selected", serializer=Json()), target="{n}-cells-{seed}.json")
def select(n: int, seed: int) -> Cells:
    """Choose cells: their number, and what their third channel shows.

    Parameters
    ----------
    n : int
        How many.
    seed : int
        Of all random numbers.

    Returns
    -------
    list of dict
        ``cell_id`` and ``structure`` of each.
    """
    chosen = np.random.default_rng(seed).integers(0, len(STRUCTURES), n)
    return [{"cell_id": cell, "structure": STRUCTURES[kind]} for cell, kind in enumerate(chosen.tolist())]


@braid.task(
    version="1",
    result=LocalResult("staging/normalized", serializer=OmeTiff(dimensions="CZYX", channel_names=CHANNELS)),
    target="{cell_id:03d}.ome.tiff",
)
def normalize(cell_id: int, structure: str, seed: int) -> NDArray[np.float32]:
    """Take the image of a cell, and scale its channels.

    Parameters
    ----------
    cell_id : int
        Number of the cell.
    structure : str
        What its third channel shows.
    seed : int
        Of all random numbers.

    Returns
    -------
    ndarray of float32, shape (3, z, y, x)
        0 to 1.
    """
    return scaled(volume(cell_id, structure, seed))


@braid.task(
    version="1",
    result=DatasetResult("normalized", readme="Images of cells, each channel from 0 to 1.", file_columns=["image"]),
)
def normalized(cells: Cells, images: Sequence[Any]) -> Cells:
    """Collect the images.

    Parameters
    ----------
    cells : list of dict
        What was chosen.
    images : sequence of ndarray
        Of :func:`normalize`, one for each cell.

    Returns
    -------
    list of dict
        Rows of the dataset.
    """
    return [{**cell, "image": image} for cell, image in zip(cells, images, strict=True)]


@braid.task(version="1", result=LocalResult("staging/projected", serializer=Png()), target="{cell_id:03d}.png")
def project(cell_id: int, image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Project the image of a cell along z.

    Parameters
    ----------
    cell_id : int
        Number of the cell.
    image : ndarray of float32, shape (3, z, y, x)
        Of :func:`normalize`.

    Returns
    -------
    ndarray of uint8, shape (y, x, 3)
        The picture.
    """
    return projection(image)


@braid.task(
    version="1",
    result=DatasetResult("projections", readme="The cells from above, in colours.", file_columns=["picture"]),
)
def projections(cells: Cells, pictures: Sequence[Any]) -> Cells:
    """Collect the pictures.

    Parameters
    ----------
    cells : list of dict
        What was chosen.
    pictures : sequence of ndarray
        Of :func:`project`, one for each cell.

    Returns
    -------
    list of dict
        Rows of the dataset.
    """
    return [{**cell, "picture": picture} for cell, picture in zip(cells, pictures, strict=True)]


@braid.task(version="1", result=LocalResult("staging/compared", serializer=Json()), target="components.json")
def compare(cells: Cells, pictures: Sequence[Any]) -> dict[str, Any]:
    """Say how far apart the structures are, along the components in which pictures differ most.

    Parameters
    ----------
    cells : list of dict
        What was chosen.
    pictures : sequence of ndarray
        Of :func:`project`, one for each cell.

    Returns
    -------
    dict
        ``share`` of the variance of each component, ``spread`` of each structure along them.
    """
    places, share = principal_components(np.stack([np.asarray(picture) for picture in pictures]), 3)
    kinds = np.array([cell["structure"] for cell in cells])
    return {
        "share": np.round(share, 6).tolist(),
        "spread": {
            kind: np.round(places[kinds == kind].std(axis=0), 3).tolist() for kind in sorted(set(kinds.tolist()))
        },
    }


def flow(n: int, seed: int, mapped: Map = map) -> dict[str, Any]:
    """Go all the way, through what is not done yet.

    Parameters
    ----------
    n : int
        How many cells.
    seed : int
        Of all random numbers.
    mapped : callable
        As ``map``, or that of a pool: calls a function for each of some arguments.

    Returns
    -------
    dict
        What :func:`compare` found.
    """
    cells = select(n, seed)
    ids = [cell["cell_id"] for cell in cells]
    structures = [cell["structure"] for cell in cells]
    images = list(mapped(normalize, ids, structures, [seed] * n))
    normalized(cells, images)
    pictures = list(mapped(project, ids, images))
    projections(cells, pictures)
    found: dict[str, Any] = compare(cells, pictures)
    return found
