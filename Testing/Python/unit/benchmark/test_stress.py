"""Simulated chains of vertebrae, and the accuracy of the level solver on them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from spinemamba.benchmark.level_solver import SolverResult, rates, solve
from spinemamba.benchmark.simulated_chains import (
    FAULTS,
    NOISES,
    VARIANTS,
    SimulatedChain,
    real_chains,
    simulate_chains,
)
from spinemamba.cli.main import main
from spinemamba.common.errors import UserError


@pytest.fixture(scope="module")
def cases() -> list[SimulatedChain]:
    return simulate_chains(NOISES["realistic"])


def test_cases_cover_all_variants_and_faults_whole_and_cropped(cases):
    assert len(cases) == 200
    assert {case.variant for case in cases} == set(VARIANTS)
    assert {case.fault for case in cases} == set(FAULTS)
    assert Counter(case.whole for case in cases) == {True: 100, False: 100}
    assert any(case.anchored and not case.whole for case in cases)


def test_the_seed_determines_the_cases(cases):
    assert simulate_chains(NOISES["realistic"]) == cases
    assert simulate_chains(NOISES["realistic"], seed=1) != cases


def test_the_ground_truth_has_the_variant_and_the_fault(cases):
    for case in cases:
        names = [name for each in case.truth for name in each]
        assert len(case.truth) == len(case.items)
        assert (None in names) == (case.fault in ("spurious", "above", "below"))
        if case.whole:
            more, less = VARIANTS[case.variant]
            assert set(more) <= set(names)
            assert not set(less) & set(names)
        if case.fault == "missed":
            heights = [item.centroid_lps_mm[2] for item in case.items]
            assert np.diff(heights).min() < -20


def test_false_instances_lie_beyond_the_ends_of_the_spine(cases):
    above = [case for case in cases if case.fault == "above"]
    below = [case for case in cases if case.fault == "below"]
    assert {case.whole for case in above} == {case.whole for case in below} == {True, False}
    assert all(case.truth[0] == (None,) for case in above)
    assert all(case.truth[-2:] == ((None,), ("Sacrum",)) for case in below if case.whole)
    assert all((None,) in case.truth[-2:] for case in below)


def test_a_piece_of_the_skull_does_not_shift_the_levels(cases):
    skulls = [case for case in cases if case.whole and case.fault == "above"]
    answers = solve(skulls)
    assert len(answers) >= 5
    assert all(answer.right for answer in answers if answer.case.variant == "usual")


def test_usual_spines_without_noise_get_their_true_levels():
    silent = type(NOISES["weak"])(0.4, 0.0, 0.0, 0.0)
    usual = [
        c for c in simulate_chains(silent, count=60) if (c.variant, c.fault) == ("usual", "none")
    ]
    assert all(answer.right for answer in solve(usual))


@pytest.mark.slow
def test_the_solver_keeps_its_accuracy_at_realistic_noise(cases):
    found = rates(solve(cases))
    assert found.whole >= 0.95
    assert found.anchored >= 0.85
    assert found.flagged >= 0.8
    assert found.sure >= 0.9


def test_real_chains_are_read_from_a_table_of_centres(tmp_path: Path):
    table = tmp_path / "centres.csv"
    heads = "case,label,x_lr_mm,y_posterior_mm,z_superior_mm"
    table.write_text(f"{heads}\na,21,0,0,-33\na,20,0,0,0\nb,28,1,2,3\n")
    silent = type(NOISES["weak"])(0.4, 0.0, 0.0, 0.0)
    first, second = real_chains(table, silent)
    assert first.truth == (("L1",), ("L2",))
    assert [item.id for item in first.items] == [1, 2]
    assert first.items[0].centroid_lps_mm[2] > first.items[1].centroid_lps_mm[2] + 20
    assert second.truth == (("T13",),)
    table.write_text("nothing\n1\n")
    with pytest.raises(UserError, match="not a table of centres"):
        real_chains(table, silent)


def test_probabilities_of_the_solver_are_calibrated_on_real_chains(shared_data: Path):
    path = shared_data / "verse" / "verse20_centroids.csv"
    found = rates(solve(real_chains(path, NOISES["realistic"])))
    assert found.sure >= 0.9
    assert found.flagged >= 0.8


def test_rates_equal_those_calculated_by_hand():
    whole, crop = (SimulatedChain("usual", "none", w, (("L1",),), ()) for w in (True, False))
    sacrum = SimulatedChain("usual", "none", False, (("Sacrum",),), ())
    answers = [
        SolverResult(whole, True, 0.95, False, 0.0),
        SolverResult(whole, False, 0.92, False, 0.0),
        SolverResult(crop, False, 0.4, True, 0.0),
        SolverResult(sacrum, True, 0.5, False, 0.0),
    ]
    found = rates(answers)
    assert found.whole == 0.5
    assert found.anchored == 1.0
    assert found.free == pytest.approx(1 / 3)
    assert found.flagged == 0.5
    assert found.sure == 0.5


def test_the_command_prints_rates_and_writes_both_files(tmp_path: Path, capsys):
    words = ["simulate-levels", "--count", "12", "--seed", "3"]
    assert (
        main([*words, "--json", str(tmp_path / "a.json"), "--plot", str(tmp_path / "a.png")]) == 0
    )
    assert "whole spines right" in capsys.readouterr().out
    assert set(json.loads((tmp_path / "a.json").read_text())["shares"]) == set(NOISES)
    assert (tmp_path / "a.png").stat().st_size > 5000
