"""MR volumes with centres of bodies: files, contours, outlines, zones, cases and loss."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.common.errors import UserError
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.training.centres.cases import centre_case
from spinemamba.training.centres.contour import closed_path
from spinemamba.training.centres.outlines import outline_bodies
from spinemamba.training.centres.read import Centre, find_centre_cases, read_centres
from spinemamba.training.centres.zones import core_known_mask, unknown_mask
from spinemamba.training.data.dataset import IGNORE_INDEX
from spinemamba.training.data.gather import DataOptions, gather_cases
from spinemamba.training.data.patches import PatchOptions, draw_patch
from spinemamba.training.loss import Targets, spine_loss

NAMES = ("L1", "L2", "L3", "L4", "L5")
STEP_MM = (1.0, 1.0, 4.0)
SHAPE = (190, 120, 15)
HEIGHT, DEPTH, PITCH = 26, 32, 36
TOP, FRONT = 170, 40
SHOWN = range(3, 12)
"""Slices with bodies."""


def stack() -> tuple[Volume, np.ndarray]:
    """Return a sagittal stack of five boxes with dark cortex, and their labels."""
    rng = np.random.default_rng(0)
    image = np.full(SHAPE, 40.0)
    image[:, FRONT + DEPTH + 4 : FRONT + DEPTH + 16, 6:9] = 300  # canal
    truth = np.zeros(SHAPE, np.uint8)
    for k, name in enumerate(NAMES):
        top = TOP - k * PITCH
        z, y = slice(top - HEIGHT, top), slice(FRONT, FRONT + DEPTH)
        for x in SHOWN:
            image[top - HEIGHT - 2 : top + 2, FRONT - 2 : FRONT + DEPTH + 2, x] = 10
            image[z, y, x], truth[z, y, x] = 100, BY_NAME[name].value
    image = image + rng.normal(0, 3, SHAPE)
    grid = Geometry(SHAPE, STEP_MM, (0.0, 0.0, 0.0), np.diag([1.0, 1.0, 1.0]))
    return Volume(image.astype(np.float32), grid), truth


def centres(names: tuple[str, ...] = NAMES, shift_mm: float = 1.5) -> tuple[Centre, ...]:
    """Return centres, up to ``shift_mm`` beside the true ones."""
    y = FRONT + DEPTH / 2 + shift_mm
    return tuple(
        Centre(BY_NAME[name].value, (28.0, y, TOP - NAMES.index(name) * PITCH - HEIGHT / 2))
        for name in names
    )


def test_a_closed_path_is_the_cheapest_one():
    rng = np.random.default_rng(1)
    rows, columns = 6, 5
    valley = np.array([2, 3, 4, 3, 2, 1])
    cost = rng.random((rows, columns)) * 0.2 + 1.0
    cost[np.arange(rows), valley] = 0.0

    def total(path: tuple[int, ...]) -> float:
        jumps = np.abs(np.diff([*path, path[0]]))
        if jumps.max() > 2:
            return np.inf
        return cost[np.arange(rows), list(path)].sum() + 0.02 * (jumps**2).sum()

    best = min(itertools.product(range(columns), repeat=rows), key=total)
    assert tuple(closed_path(cost)) == best == tuple(valley)


def test_bodies_are_outlined_from_their_centres():
    image, truth = stack()
    labels = outline_bodies(image, centres()).labels.array
    for name in NAMES:
        one, two = labels == BY_NAME[name].value, truth == BY_NAME[name].value
        assert 2 * (one & two).sum() / (one.sum() + two.sum()) > 0.93
        assert set(np.flatnonzero(one.any(axis=(0, 1)))) <= set(SHOWN)


def test_a_slice_that_does_not_show_a_body_is_unclear():
    image, _ = stack()
    image.array[..., 5] = 40 + np.random.default_rng(2).normal(0, 3, SHAPE[:2])
    found = outline_bodies(image, centres())
    assert not found.labels.array[..., 5].any()
    assert found.unclear[..., 5].any()
    assert unknown_mask(found)[found.unclear].all()
    assert not core_known_mask(found)[found.unclear].any()


def test_zones_say_only_what_centres_can_say():
    image, truth = stack()
    found = outline_bodies(image, centres())
    unknown, core_known = unknown_mask(found), core_known_mask(found)
    row = TOP - PITCH + 5  # in the disc between L1 and L2
    assert not unknown[row, FRONT + DEPTH // 2, 7], "a disc is background"
    assert not unknown[TOP - PITCH, FRONT - 25, 7], "what is in front is background"
    behind = (TOP - PITCH - HEIGHT // 2, FRONT + DEPTH + 35, 7)
    assert unknown[behind], "an arch may be here"
    assert core_known[behind], "an arch has no core"
    above = (TOP + 15, FRONT + 10, 7)  # of the first centre, where a body is not listed
    assert unknown[above]
    assert not core_known[above]
    assert not (unknown & (truth > 0) & (found.labels.array > 0)).any()


@pytest.mark.parametrize("spacing_mm", [1.5, 4.0])
def test_a_case_has_cores_at_its_centres(spacing_mm):
    image, _ = stack()
    case = centre_case("one", image, centres(), spacing_mm)
    assert case.origin.modality == "mr"
    assert case.core_known.shape == case.core.shape
    for centre, name in zip(centres(), NAMES, strict=True):
        place = np.array(centre.lps_mm[::-1]) / case.spacing_mm
        at = tuple(np.round(place).astype(int))
        assert case.core[at] == 1
        channel = int(case.target[at])
        assert case.target[at] not in (0, IGNORE_INDEX)
        assert np.linalg.norm((case.centres[channel].numpy() - place) * case.spacing_mm) < 6, name


def test_the_core_is_learned_where_only_it_is_known():
    shape = (1, 4, 4, 4)
    target = torch.full(shape, IGNORE_INDEX, dtype=torch.uint8)
    core, zero = torch.zeros(shape), torch.zeros(shape)
    offset = torch.full((1, 3, 4, 4, 4), torch.nan)
    logits = torch.zeros(1, 27, 4, 4, 4)
    losses = {}
    for name, known in {"none": None, "all": torch.ones(shape, dtype=torch.bool)}.items():
        targets = Targets(target, zero, core, offset, core_known=known)
        losses[name] = spine_loss(logits, targets)[1]["core"]
    assert losses["none"] == pytest.approx(0)
    # Cross-entropy of an undecided logit, and one minus Dice of 64 voxels of 0.5.
    assert losses["all"] == pytest.approx(np.log(2) + 1 - 1 / 33)


def test_patches_know_the_core_inside_of_the_image_only():
    image, _ = stack()
    case = centre_case("one", image, centres(), 4.0)
    options = PatchOptions((80, 48, 16), spacing_mm=4.0, narrow=0, turned=0, scaled=0)
    patch = draw_patch(case, options, torch.Generator().manual_seed(0))
    assert patch.core_known.any()
    assert not patch.core_known.all()


def written(folder: Path, entries: list[dict[str, object]]) -> Path:
    path = folder / "one_centres.json"
    path.write_text(json.dumps({"case": "one", "centres": entries}))
    return path


def entry(name: str, z: float) -> dict[str, object]:
    return {"level": name, "lps_mm": [1.0, 2.0, z], "label": 3}


def test_json_and_csv_give_the_same_centres(tmp_path):
    path = written(tmp_path, [entry("S1", 0), entry("L4", 60), entry("L5", 30)])
    table = tmp_path / "two_centres.csv"
    table.write_text("level,x,y,z\nS1,1,2,0\nL4,1,2,60\nL5,1,2,30\n")
    found = read_centres(path)
    assert found == read_centres(table)
    assert [centre.value for centre in found] == [23, 24, 26]


WRONG = {
    "two": ([entry("L4", 1), entry("L5", 0)], "2 centres"),
    "twice": ([entry("L4", 1), entry("L4", 0), entry("L3", 2)], "twice"),
    "no level": ([entry("disc", 1), entry("L4", 0), entry("L3", 2)], "not a level"),
    "no number": ([entry("L5", float("nan")), entry("L4", 0), entry("L3", 2)], "not finite"),
    "missing": ([{"level": "L5"}, entry("L4", 0), entry("L3", 2)], "lps_mm"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_lists_of_centres_are_refused(tmp_path, name):
    entries, text = WRONG[name]
    with pytest.raises(UserError, match=text):
        read_centres(written(tmp_path, entries))


def test_a_list_without_its_image_is_refused(tmp_path):
    written(tmp_path, [])
    with pytest.raises(UserError, match="0 images of the name one"):
        find_centre_cases(tmp_path)


def test_centres_outside_of_the_image_are_refused():
    image, _ = stack()
    far = (Centre(21, (28.0, 500.0, 100.0)), *centres(("L3", "L4", "L5")))
    with pytest.raises(UserError, match="outside of the image"):
        centre_case("one", image, far, 4.0)


def test_changed_centres_make_a_case_again(tmp_path):
    image, _ = stack()
    own = sitk.GetImageFromArray(image.array)
    own.SetSpacing(STEP_MM[::-1])
    folder = tmp_path / "data"
    folder.mkdir()
    sitk.WriteImage(own, str(folder / "one_img.nii.gz"))
    entries = [
        {"level": name, "lps_mm": centre.lps_mm}
        for name, centre in zip(NAMES, centres(), strict=True)
    ]
    written(folder, entries)
    options = DataOptions(tmp_path / "run", phantoms=0, centres=folder)
    (first,), _ = gather_cases(options, 4.0, lambda text: None)
    assert gather_cases(options, 4.0, lambda text: None)[0] == [first]
    written(folder, entries[:-1])
    ((second,), weights) = gather_cases(options, 4.0, lambda text: None)
    assert second.key != first.key
    assert len(second.levels) == len(first.levels) - 1
    assert weights[0] > 0
