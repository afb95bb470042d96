"""A follow-up finds a made fracture, matches levels by shape, and reports nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from analytic_spine import draw, stack

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.cli.main import main
from spinemamba.common.errors import UserError
from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import write_image
from spinemamba.jobs.follow_up import run_follow_up
from spinemamba.measure.follow_up.matching import match_levels, moved_name
from spinemamba.measure.follow_up.record import FOLLOW_UP, FollowUp
from spinemamba.protocol.job import FollowUpJob

NAMES = ("T11", "T12", "L1")
SIZES = ((34.0, 26.0, 20.0), (37.0, 29.0, 23.0), (41.0, 32.0, 27.0))
"""The bodies grow from level to level, as in a spine."""


def spine(crushed: float = 0.0) -> Volume:
    """Return labels; T12 has lost some height in front."""
    vertebrae = []
    for name, size in zip(NAMES, SIZES, strict=True):
        (one,) = stack((name,), np.zeros((1, 2)), size=size)
        vertebrae.append(one)
    top = 0.0
    placed = []
    for one in vertebrae:
        wedge = (-float(np.degrees(np.arctan(crushed / one.size[1]))), 0.0)
        centre = np.array([0.0, 0.0, top - one.size[2] / 2])
        top -= one.size[2] + 8.0
        changed = {"centre": centre, "wedge_deg": wedge if one.name == "T12" else (0.0, 0.0)}
        placed.append(type(one)(**{**vars(one), **changed}))
    return draw(placed, (2.0, 1.2, 1.2), np.eye(3))


def renamed(labels: Volume, names: tuple[str, ...]) -> Volume:
    array = np.zeros_like(labels.array)
    for old, new in zip(NAMES, names, strict=True):
        array[labels.array == BY_NAME[old].value] = BY_NAME[new].value
    return labels.with_array(array)


def compared(folder: Path, before: Volume, after: Volume) -> FollowUp:
    write_image(before, folder / "before.nii.gz")
    write_image(after, folder / "after.nii.gz")
    words = ["follow-up", str(folder / "before.nii.gz"), str(folder / "after.nii.gz")]
    assert main([*words, str(folder / "out")]) == 0
    return FOLLOW_UP.read(folder / "out" / "follow_up.json")


def test_a_fracture_is_found_and_nothing_else(tmp_path: Path, capsys):
    found = compared(tmp_path, spine(), spine(crushed=12.0))
    beyond = {(c.name, c.quantity) for c in found.changes if c.beyond}
    assert ("T12", "anterior_height_mm") in beyond
    assert ("T12", "height_loss_percent") in beyond
    assert not {name for name, _ in beyond} - {"T12", "T11-T12", "T12-L1", "T11", "L1"}
    assert not {(n, q) for n, q in beyond if n in ("T11", "L1") and q.endswith("height_mm")}
    loss = next(c for c in found.changes if (c.name, c.quantity) == ("T12", "anterior_height_mm"))
    assert loss.change == pytest.approx(-0.7 * 12.0 / 2, abs=1.0)
    assert "anterior height" in capsys.readouterr().out
    page = (tmp_path / "out" / "follow_up.html").read_text("utf-8")
    assert "Changes beyond their uncertainty" in page
    assert "before.nii" not in page
    rows = (tmp_path / "out" / "follow_up.csv").read_text("utf-8").splitlines()
    assert len(rows) == 1 + len(found.changes)


def test_names_that_are_off_by_one_are_matched_by_shape(tmp_path: Path):
    found = compared(tmp_path, renamed(spine(), ("T12", "L1", "L2")), spine())
    assert found.level_shift == -1
    assert any("names of the first result are 1 off" in alert for alert in found.alerts)
    assert [(m.before_level, m.level) for m in found.matches][-1] == ("L2", "L1")
    assert not [c for c in found.changes if c.beyond]


def test_a_turned_vertebra_is_reported_against_the_rest():
    labels = spine()
    array = np.zeros_like(labels.array)
    for name in NAMES:
        part = labels.array == BY_NAME[name].value
        # T12 moves 3.6 mm to the left, all three 4 mm to the head.
        moved = np.roll(part, (2, 3 if name == "T12" else 0), axis=(0, 2))
        array[moved] = BY_NAME[name].value
    matches = {m.level: m for m in match_levels(labels, labels.with_array(array)).matches}
    assert matches["T12"].shift_mm == pytest.approx(3.6, abs=0.3)
    assert matches["T12"].turn_deg == pytest.approx(0, abs=0.5)
    assert matches["T12"].residual_mm < 0.5
    # Voxels of 2.0 and 1.2 mm: 4 mm to the head, and T12 also to the side.
    for name, to_the_side_mm in (("T11", 0.0), ("T12", 3.6), ("L1", 0.0)):
        turn, centre = np.array(matches[name].rotation), centre_lps_mm(labels, name)
        moved_mm = turn @ centre + matches[name].translation_mm - centre
        np.testing.assert_allclose(moved_mm, (to_the_side_mm, 0.0, 4.0), atol=0.4)
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-6)


def centre_lps_mm(labels: Volume, name: str) -> np.ndarray:
    index = np.argwhere(labels.array == BY_NAME[name].value).mean(axis=0)
    return labels.geometry.to_lps_mm(index)


@pytest.mark.parametrize("foreign", [True, False])
def test_a_job_compares_as_the_command_does(tmp_path: Path, foreign: bool):
    named = compared(tmp_path, spine(), spine(crushed=12.0))
    job = FollowUpJob(
        tmp_path / "after.nii.gz",
        tmp_path / "job.json",
        before=tmp_path / "before.nii.gz",
        foreign=foreign,
        page=tmp_path / "page.html",
    )
    steps: list[float] = []
    run_follow_up(job, lambda stage, fraction: steps.append(fraction))
    assert steps == sorted(steps)
    assert steps[-1] == 1.0
    assert len(steps) > 4
    made = FOLLOW_UP.read(job.output)
    assert made.changes == named.changes
    assert "Changes beyond their uncertainty" in job.page.read_text("utf-8")
    with pytest.raises(UserError, match="already exist"):
        run_follow_up(job)


@pytest.mark.parametrize(
    ("level", "shift", "moved"),
    [("L1", 0, "L1"), ("T12", 1, "L1"), ("L1", -1, "T12"), ("L5", 1, "Sacrum"), ("C1", -1, None)],
)
def test_names_move_along_the_usual_levels(level, shift, moved):
    assert moved_name(level, shift) == moved


def test_files_are_not_overwritten_unasked(tmp_path: Path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "follow_up.csv").write_text("mine", "utf-8")
    write_image(spine(), tmp_path / "a.nii.gz")
    path = str(tmp_path / "a.nii.gz")
    assert main(["follow-up", path, path, str(tmp_path / "out")]) == 2
    assert "already exist" in capsys.readouterr().err
    assert (tmp_path / "out" / "follow_up.csv").read_text("utf-8") == "mine"
