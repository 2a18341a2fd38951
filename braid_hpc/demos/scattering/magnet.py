"""A ferromagnet on a square lattice: its spin waves, the spectrum that neutrons see, and a measured one.

Linear spin-wave theory gives the energy of a wave from the exchange with nearest neighbours (j1), along the diagonals
(j2) and the anisotropy gap; neutrons see it with the Bose factor of its temperature and the instrument's resolution.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from braid_hpc.demos.scattering.settings import Settings
from braid_hpc.kernels.spectrum import spectrum

__all__ = ["CONSTANTS", "dispersion", "draw", "measure", "path", "simulate"]

CONSTANTS = ("j1", "j2", "gap")
"""Names of the constants, in their order; all in meV."""

SPIN = 1.0

CORNERS = np.array([[0.0, 0.0], [np.pi, 0.0], [np.pi, np.pi], [0.0, 0.0]])
"""The path through the zone, in units of the inverse lattice constant: from its centre along the edge and back."""

GROWTH = 0.02
"""By how much the resolution gets wider with each meV."""


def path(momenta: int) -> NDArray[np.float64]:
    """Give the momenta of a spectrum.

    Parameters
    ----------
    momenta : int
        How many.

    Returns
    -------
    ndarray of float64, shape (momenta, 2)
        Along the path through the zone, evenly spaced; the very centre is left out.
    """
    steps = np.linalg.norm(np.diff(CORNERS, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    place = (np.arange(momenta) + 0.5) * along[-1] / momenta
    return np.column_stack([np.interp(place, along, CORNERS[:, i]) for i in range(2)])


def dispersion(momentum: NDArray[np.float64], constants: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the energy of spin waves.

    Parameters
    ----------
    momentum : ndarray of float64, shape (n, 2)
        In units of the inverse lattice constant.
    constants : ndarray of float64, shape (3,)
        As :data:`CONSTANTS` names them, in meV.

    Returns
    -------
    ndarray of float64, shape (n,)
        In meV.
    """
    j1, j2, gap = constants
    x, y = momentum.T
    near, far = 2.0 - np.cos(x) - np.cos(y), 2.0 - np.cos(x + y) - np.cos(x - y)
    energy: NDArray[np.float64] = gap + 2.0 * SPIN * (j1 * near + j2 * far)
    return energy


def simulate(settings: Settings, constants: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute a spectrum without noise.

    Parameters
    ----------
    settings : Settings
        The configuration.
    constants : ndarray of float64, shape (3,)
        In meV.

    Returns
    -------
    ndarray of float64, shape (momenta, energies)
        Expected counts.
    """
    axis = energy_axis(settings)
    # an instability of the magnet shows as a wave without energy
    energy: NDArray[np.float64] = np.maximum(dispersion(path(settings.momenta), constants), 0.05)
    weight = 1.0 / (1.0 - np.exp(-energy / settings.temperature))
    step = settings.energy_max / settings.energies
    return settings.background + settings.counts * step * spectrum(energy, weight, axis, (settings.resolution, GROWTH))


def energy_axis(settings: Settings) -> NDArray[np.float64]:
    """Give the energies of a spectrum's channels.

    Parameters
    ----------
    settings : Settings
        The configuration.

    Returns
    -------
    ndarray of float64, shape (energies,)
        Their middles, in meV.
    """
    rims = np.linspace(0.0, settings.energy_max, settings.energies + 1, dtype=np.float64)
    middles: NDArray[np.float64] = rims[:-1] + settings.energy_max / settings.energies / 2
    return middles


def draw(settings: Settings) -> NDArray[np.float64]:
    """Choose the constants of all simulations, one in each slice of every range.

    Parameters
    ----------
    settings : Settings
        The configuration.

    Returns
    -------
    ndarray of float64, shape (simulations, 3)
        The same on every rank, in meV.
    """
    random = np.random.default_rng([settings.seed, 0])
    n = settings.simulations
    within = (np.array([random.permutation(n) for _ in CONSTANTS]) + random.random((3, n))) / n
    low, high = (np.array([getattr(settings, f"{name}_{end}") for name in CONSTANTS]) for end in ("min", "max"))
    chosen: NDArray[np.float64] = low + within.T * (high - low)
    return chosen


def measure(settings: Settings) -> tuple[NDArray[np.uint32], NDArray[np.float64]]:
    """Give the measured spectrum.

    Parameters
    ----------
    settings : Settings
        The configuration.

    Returns
    -------
    counts : ndarray of uint32, shape (momenta, energies)
        Neutrons, with counting noise.
    truth : ndarray of float64, shape (3,)
        The constants of the sample, in meV, which nobody would know.
    """
    random = np.random.default_rng([settings.seed, 1])
    low, high = (np.array([getattr(settings, f"{name}_{end}") for name in CONSTANTS]) for end in ("min", "max"))
    truth = low + random.uniform(0.25, 0.75, 3) * (high - low)
    return random.poisson(simulate(settings, truth)).astype(np.uint32), truth
