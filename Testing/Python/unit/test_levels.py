from __future__ import annotations

import itertools

import numpy as np
import pytest

from spinemamba.instances import Instance, Instances
from spinemamba.labels import NETWORK_LEVELS
from spinemamba.level_priors import STEP_MM
from spinemamba.levels import assign_levels
from spinemamba.quality import flags
from spinemamba.sequence import best_paths, forward_backward, path_score


def spine(
    truth: list[str], certainty: float = 0.6, scale: float = 1.0, spread: int = 1
) -> Instances:
    """Instances in a straight line at the usual distances, with softened evidence."""
    items, height = [], 0.0
    for k, name in enumerate(truth, start=1):
        shown = {"T13": "T12", "L6": "L5"}.get(name, name)
        at = NETWORK_LEVELS.index(shown)
        evidence = np.full(len(NETWORK_LEVELS), 0.001)
        for j in range(-spread, spread + 1):
            if 0 <= at + j < len(evidence):
                evidence[at + j] = (1 - certainty) / (2 * spread)
        evidence[at] = certainty
        if k > 1:
            height -= scale * STEP_MM.get((truth[k - 2], name), (33.0, 2.0))[0]
        items.append(Instance(k, (0.0, 0.0, height), 30.0, tuple(evidence), name == "Sacrum", ()))
    return Instances(np.zeros((1, 1, 1), np.int16), tuple(items))


WHOLE = [*(f"C{k}" for k in range(1, 8)), *(f"T{k}" for k in range(1, 13))]
WHOLE += [*(f"L{k}" for k in range(1, 6)), "Sacrum"]
T11 = [n for n in WHOLE if n != "T12"]
T13 = [*WHOLE[:19], "T13", *WHOLE[19:]]
L4 = [n for n in WHOLE if n != "L5"]
L6 = [*WHOLE[:-1], "L6", "Sacrum"]


@pytest.mark.parametrize(
    "truth", [WHOLE, T11, T13, L4, L6], ids=["usual", "T11", "T13", "L4", "L6"]
)
@pytest.mark.parametrize("scale", [0.7, 1.0, 1.15])
def test_whole_spines_are_named_right_also_with_a_level_too_many_or_few(truth, scale):
    solution = assign_levels(spine(truth, scale=scale))
    assert solution.best[0].names == tuple(truth)


def test_one_vertebra_with_the_evidence_of_its_neighbour_is_overruled():
    instances = spine(WHOLE[8:20])
    items = list(instances.items)
    items[4] = Instance(5, items[4].centroid_lps_mm, 30.0, items[5].evidence, False, ())
    solution = assign_levels(Instances(instances.labels, tuple(items)))
    assert solution.best[0].names == tuple(WHOLE[8:20])


def test_a_missed_vertebra_leaves_a_gap_in_the_names():
    truth = WHOLE[8:20]
    instances = spine(truth)
    kept = tuple(i for i in instances.items if i.id != 5)
    solution = assign_levels(Instances(instances.labels, kept))
    assert solution.best[0].names == tuple(n for k, n in enumerate(truth, 1) if k != 5)


def test_weak_evidence_without_an_anchor_is_called_ambiguous():
    weak = assign_levels(spine(WHOLE[10:14], certainty=0.05, spread=5))
    assert weak.ambiguous
    strong = assign_levels(spine(WHOLE[14:], certainty=0.8))
    assert not strong.ambiguous
    assert np.median(strong.posteriors) > 0.95


def test_uncertain_names_are_called_ambiguous_even_if_no_shift_is_as_likely():
    truth = WHOLE[8:14]
    items = spine(truth, certainty=0.5).items
    torn = tuple(
        Instance(i.id, i.centroid_lps_mm, 30.0, tuple(np.roll(i.evidence, 3 * (k % 2))), False, ())
        for k, i in enumerate(items)
    )
    solution = assign_levels(Instances(np.zeros((1, 1, 1), np.int16), torn))
    assert float(np.median(solution.posteriors)) < 0.75
    assert solution.ambiguous


def test_posteriors_of_each_vertebra_sum_to_one_and_labelings_fall():
    solution = assign_levels(spine(WHOLE[8:14], certainty=0.3), k=5)
    likely = [labeling.posterior for labeling in solution.best]
    assert likely == sorted(likely, reverse=True)
    assert sum(likely) <= 1 + 1e-9
    assert (solution.marginals.sum(axis=1) <= 1 + 1e-9).all()
    assert (solution.marginals.sum(axis=1) > 0.95).all()


def test_the_dynamic_programme_equals_trying_every_path():
    rng = np.random.default_rng(0)
    states, start = np.log(rng.random((4, 3))), np.log(rng.random(3))
    steps = [np.log(rng.random((3, 3))) for _ in range(3)]
    every = {
        p: path_score(list(p), states, steps, start) for p in itertools.product(range(3), repeat=4)
    }
    ranked = sorted(every.values(), reverse=True)
    paths = best_paths(states, steps, start, 6)
    assert [score for _, score in paths] == pytest.approx(ranked[:6])
    assert every[tuple(paths[0][0])] == pytest.approx(ranked[0])
    posterior, total = forward_backward(states, steps, start)
    assert total == pytest.approx(np.log(np.sum(np.exp(list(every.values())))))
    weight = sum(np.exp(s) for p, s in every.items() if p[2] == 1)
    assert posterior[2, 1] == pytest.approx(weight / np.exp(total))


def test_a_single_vertebra_gets_its_most_likely_name():
    assert assign_levels(spine(["L3"])).best[0].names == ("L3",)


def test_flags_say_what_is_odd_with_its_number():
    items = list(spine(["L1", "L2", "L3"]).items)
    small = Instance(2, items[1].centroid_lps_mm, 10.0, items[1].evidence, False, ())
    cut = Instance(3, items[2].centroid_lps_mm, 30.0, items[2].evidence, False, ("inferior",))
    found = flags((items[0], small, cut), (0.99, 0.5, 0.99))
    assert found[1] == ("Level uncertain (50 %).", "Volume is 0.3 times that of its neighbours.")
    assert found[2] == ("Cut by the image (inferior).",)
