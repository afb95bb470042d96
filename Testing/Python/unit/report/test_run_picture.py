"""The report picture follows the spine, shows all vertebrae, and is written atomically."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic_results import result_of

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.common.errors import UserError
from spinemamba.imaging.curved_planar import side_and_front, trace_spine
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.report.run_picture import separate, write_run_picture

SPACING = (2.0, 1.0, 1.0)
SHAPE = (60, 90, 80)
NAMES = ("L3", "L2", "L1")
"""From the lowest block up; each is 24 mm high, 6 mm above the one below."""


def volume(array: np.ndarray) -> Volume:
    return Volume(array, Geometry(array.shape, SPACING, (0.0, 0.0, 0.0), np.eye(3)))


def leaning_spine() -> Volume:
    """Three bodies with a narrower arch behind; each lies 12 mm further left than the one below."""
    labels = np.zeros(SHAPE, np.uint8)
    for k, name in enumerate(NAMES):
        z, x = 8 + 15 * k, 16 + 12 * k
        labels[z : z + 12, 20:44, x : x + 24] = BY_NAME[name].value
        labels[z : z + 12, 54:84, x + 4 : x + 20] = BY_NAME[name].value
    return volume(labels)


def test_body_centres_lie_in_the_bodies_and_not_in_the_arches() -> None:
    bodies = trace_spine(leaning_spine()).bodies_mm
    for k, name in enumerate(NAMES):
        z, y, x = bodies[BY_NAME[name].value]
        assert z == pytest.approx(2 * (8 + 15 * k + 5.5), abs=3)
        assert 22 < y < 42
        assert x == pytest.approx(16 + 12 * k + 11.5, abs=2)


def test_both_views_show_every_body_of_a_tilted_spine() -> None:
    labels = leaning_spine()
    for view in side_and_front(volume(labels.array.astype(np.int16)), labels):
        for name in NAMES:
            value = BY_NAME[name].value
            area_mm2 = (view.labels == value).sum() * view.pixel_mm**2
            # 24 mm by 24 mm, and in the side view an arch of 24 mm by 30 mm.
            assert area_mm2 > 0.9 * 24 * 24, name
            row, column = (round(place) for place in view.bodies[value])
            assert view.labels[row, column] == value


def test_outlines_lie_on_the_image_at_the_same_position() -> None:
    labels = leaning_spine()
    image = volume(np.where(labels.array > 0, 500, -100).astype(np.int16))
    for view in side_and_front(image, labels):
        inside = view.image[view.labels > 0]
        assert np.median(inside) == 500
        assert np.median(view.image[view.labels == 0]) == -100


def test_the_orientation_of_the_array_does_not_change_the_views() -> None:
    labels = leaning_spine()
    image = volume(np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(np.float32))
    turned = []
    for original in (image, labels):
        array = original.array[:, ::-1, ::-1].transpose(2, 0, 1)
        # Array axes are now x, z, y: the index axes in SimpleITK's order point y, z, x.
        direction = np.array([[0.0, 0, -1], [-1, 0, 0], [0, 1, 0]])
        grid = Geometry(array.shape, (1.0, 2.0, 1.0), (SHAPE[2] - 1, SHAPE[1] - 1, 0.0), direction)
        turned.append(Volume(array, grid))
    for a, b in zip(side_and_front(image, labels), side_and_front(*turned), strict=True):
        assert np.array_equal(a.labels, b.labels)
        assert np.allclose(a.image, b.image)


def test_only_overlapping_names_are_moved_apart() -> None:
    assert separate([10.0, 50.0], distance=4, highest=100) == [10, 50]
    assert separate([50.0, 11.0, 10.0], distance=4, highest=100) == [50, 12.5, 8.5]
    assert separate([99.0, 10.0, 100.0], distance=4, highest=100) == [96, 10, 100]
    assert separate([], distance=4, highest=100) == []


@pytest.mark.parametrize("modality", ["ct", "mr"])
def test_a_picture_of_a_phantom_is_a_png_with_the_colours_of_its_labels(
    tmp_path: Path, modality: str
) -> None:
    options = PhantomOptions("L1", "L2", spacing_mm=(3.0, 3.0, 3.0), tight=True, modality=modality)
    phantom = make_phantom(1, options)
    path = tmp_path / "report.png"
    write_run_picture(phantom.image, phantom.labels, result_of(phantom.labels, modality), path)
    from matplotlib.image import imread

    pixels = np.round(imread(path)[..., :3] * 255)
    for name in ("L1", "L2"):
        shown = np.abs(pixels - BY_NAME[name].color).max(axis=-1) < 4
        assert shown.sum() > 100, name
    assert [p.name for p in tmp_path.iterdir()] == ["report.png"]


def test_labels_without_vertebrae_give_a_picture_too(tmp_path: Path) -> None:
    empty = volume(np.zeros(SHAPE, np.uint8))
    write_run_picture(
        empty.with_array(empty.array.astype(np.int16)), empty, result_of(empty), tmp_path / "r.png"
    )
    assert (tmp_path / "r.png").stat().st_size > 1000


def test_a_picture_that_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    labels = leaning_spine()
    target = tmp_path / "taken.png"
    target.mkdir()
    with pytest.raises(UserError, match=r"Cannot write taken\.png"):
        write_run_picture(labels, labels, result_of(labels), target)
    assert list(tmp_path.iterdir()) == [target]
