"""Belief propagation against every state of small graphs, and its limits."""

import itertools

import numpy as np

from defocus.methods.shi2014.belief_propagation import layered_beliefs

RANDOM = np.random.default_rng(8)


def every_state(odds, coupling):
    """Exact probabilities of the first state, by summing over all states."""
    nodes = list(np.ndindex(odds.shape))
    pairs = [(a, b) for a, b in itertools.combinations(nodes, 2) if np.abs(np.subtract(a, b)).sum() == 1]
    total, first = 0.0, np.zeros(odds.shape)
    for states in itertools.product((0, 1), repeat=len(nodes)):
        state = dict(zip(nodes, states, strict=True))
        log = sum(odds[n] for n in nodes if state[n]) - coupling * sum(state[a] != state[b] for a, b in pairs)
        total += np.exp(log)
        for n in nodes:
            first[n] += np.exp(log) * state[n]
    return first / total


def test_exact_on_chains():
    for shape in ((1, 1, 7), (1, 7, 1), (5, 1, 1)):
        odds = RANDOM.normal(0, 1.5, shape)
        np.testing.assert_allclose(layered_beliefs(odds, 0.8, 7), every_state(odds, 0.8), atol=1e-12)


def test_close_on_a_small_stack_of_grids():
    odds = RANDOM.normal(0, 1, (3, 2, 2))
    # Loops count some evidence twice; with a weak coupling the difference is small.
    np.testing.assert_allclose(layered_beliefs(odds, 0.3, 30), every_state(odds, 0.3), atol=0.01)


def test_no_coupling_leaves_nodes_alone_and_strong_coupling_lets_the_majority_win():
    odds = RANDOM.normal(0, 2, (3, 5, 6))
    np.testing.assert_allclose(layered_beliefs(odds, 0.0, 4), 1 / (1 + np.exp(-odds)), atol=1e-12)
    odds[:] = 0.4
    odds[1, 2, 3] = -1.0
    assert (layered_beliefs(odds, 2.0, 12) > 0.5).all()
