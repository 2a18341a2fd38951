"""The network of the demos: its derivative, its layout, and learning on several ranks."""

from __future__ import annotations

import numpy as np
import pytest

from braid_hpc.demos.network import Learner, first_weights, gradient, predict
from braid_hpc.demos.ranks import Ranks

LAYERS = (6, 5, 4, 2)


def test_gradient_is_that_of_the_loss() -> None:
    """Every derivative agrees with a central difference of the loss."""
    layers, random = (6, 5, 4, 2), np.random.default_rng(3)
    weights = first_weights(1, layers) + random.normal(0, 0.1, 6 * 5 + 5 + 5 * 4 + 4 + 4 * 2 + 2)
    x, y = random.normal(size=(7, 6)), random.normal(size=(7, 2))
    loss, derivative = gradient(weights, x, y, layers)
    assert loss == pytest.approx(((predict(weights, x, layers) - y) ** 2).sum())
    for i in range(weights.size):
        step = np.zeros_like(weights)
        step[i] = 1e-6
        high, low = (gradient(weights + sign * step, x, y, layers)[0] for sign in (1, -1))
        assert derivative[i] == pytest.approx((high - low) / 2e-6, rel=1e-5, abs=1e-6)


def test_gradients_add_up_over_parts() -> None:
    """The sums over two parts of a batch are those over the whole, which is what lets ranks share the work."""
    random = np.random.default_rng(4)
    weights = first_weights(1, LAYERS) + 0.01
    x, y = random.normal(size=(10, LAYERS[0])), random.normal(size=(10, 2))
    whole, derivative = gradient(weights, x, y, LAYERS)
    parts = [gradient(weights, x[part], y[part], LAYERS) for part in (slice(3), slice(3, None), slice(0))]
    assert sum(part[0] for part in parts) == pytest.approx(whole)
    np.testing.assert_allclose(sum(part[1] for part in parts), derivative, rtol=1e-9, atol=1e-12)


def test_weights_of_another_network_are_refused() -> None:
    """A vector that does not fit the layers is an error, not a wrong answer."""
    with pytest.raises(ValueError, match="have 12 weights, not 11"):
        predict(np.zeros(11), np.zeros((1, 5)), (5, 2))


def test_a_rank_without_examples_takes_part() -> None:
    """No example: nothing is learned, and nothing fails."""
    start = first_weights(1, LAYERS)
    learner = Learner(Ranks(), LAYERS, start, [1])
    assert learner.epoch(np.zeros((0, 6)), np.zeros((0, 2)), batch=8, rates=[0.1, 0.1]) == 0.0
    assert np.array_equal(learner.weights, start)


def test_learning_brings_the_loss_down() -> None:
    """A map that the network can say is learned, and the weights it began with stay as they were."""
    random = np.random.default_rng(5)
    x = random.normal(size=(200, 6))
    y = np.column_stack([x[:, 0] - x[:, 1], np.abs(x[:, 2])])
    start = first_weights(1, LAYERS)
    kept = start.copy()
    learner = Learner(Ranks(), LAYERS, start, [1])
    errors = [learner.epoch(x, y, batch=64, rates=[0.01] * 100) for _ in range(4)]
    assert errors[-1] < 0.4 * errors[0]
    assert np.array_equal(start, kept)
