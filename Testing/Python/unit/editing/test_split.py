"""Splitting of two merged vertebrae with a seed in each."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.editing.split import cut_mm2, split_by_seeds
from spinemamba.imaging.curved_planar import trace_spine
from spinemamba.imaging.masks import dice
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.imaging.write import to_image
from spinemamba.phantom import PhantomOptions, make_phantom

MM = (2.0, 1.0, 1.0)


def divided(mask: np.ndarray, seeds_zyx: list[tuple[int, int, int]], spacing_mm=MM) -> np.ndarray:
    """Return the parts of a mask whose axes run upwards, backwards and to the left."""
    geometry = Geometry(mask.shape, spacing_mm, (0.0, 0.0, 0.0), np.eye(3))
    return split_by_seeds(Volume(mask, geometry), geometry.to_lps_mm(np.array(seeds_zyx)))


def two_blocks() -> np.ndarray:
    """Two thick blocks with a thin bridge."""
    mask = np.zeros((24, 20, 20), bool)
    mask[2:10, 2:18, 2:18] = True
    mask[14:22, 2:18, 2:18] = True
    mask[10:14, 9:11, 9:11] = True
    return mask


def test_each_block_is_assigned_to_its_seed_and_the_bridge_is_cut():
    parts = divided(two_blocks(), [(5, 10, 10), (18, 10, 10)])
    assert (parts[2:10][two_blocks()[2:10]] == 1).all()
    assert (parts[14:22][two_blocks()[14:22]] == 2).all()
    assert (parts > 0).sum() == two_blocks().sum()


def test_two_seeds_at_the_same_position_give_one_vertebra():
    parts = divided(two_blocks(), [(5, 10, 10), (5, 10, 10)])
    assert set(np.unique(parts)) == {0, 1}


def test_a_mask_too_thin_for_the_coarse_grid_is_split_too():
    mask = np.zeros((9, 9, 40), bool)
    mask[5, 5] = True
    parts = divided(mask, [(5, 5, 5), (5, 5, 35)], (0.5, 0.5, 0.5))
    assert parts[5, 5, 0] == 1
    assert parts[5, 5, 39] == 2


def merged_pair(upper: str, lower: str) -> tuple[Volume, np.ndarray, np.ndarray]:
    """Return two merged vertebrae of a phantom, their bodies, and their true labels."""
    options = PhantomOptions(
        first=upper, last=lower, spacing_mm=(2.0, 1.5, 1.5), tight=True, arthrosis=1.0
    )
    labels = make_phantom(0, options).labels
    truth = np.zeros(labels.array.shape, np.int32)
    for number, name in enumerate((upper, lower), start=1):
        truth[labels.array == BY_NAME[name].value] = number
    bodies_mm = trace_spine(labels).bodies_mm
    at = [bodies_mm[BY_NAME[n].value] / np.asarray(labels.spacing_mm) for n in (upper, lower)]
    return labels.with_array(truth > 0), labels.geometry.to_lps_mm(np.stack(at)), truth


def test_two_thoracic_vertebrae_with_fused_joints_are_split():
    both, seeds_lps_mm, truth = merged_pair("T6", "T7")
    parts = split_by_seeds(both, seeds_lps_mm)
    assert min(dice(parts == k, truth == k) for k in (1, 2)) > 0.95


def sagittal(volume: Volume) -> Volume:
    """Return a volume as sagittal slices from head to tail."""
    image = sitk.DICOMOrient(to_image(volume.with_array(volume.array.astype(np.uint8))), "PIR")
    direction = np.array(image.GetDirection()).reshape(3, 3)
    geometry = Geometry(
        image.GetSize()[::-1], image.GetSpacing()[::-1], image.GetOrigin(), direction
    )
    return Volume(sitk.GetArrayFromImage(image) > 0, geometry)


def test_an_image_in_another_orientation_is_split_at_the_same_place():
    both, seeds_lps_mm, _ = merged_pair("T6", "T7")
    plain = split_by_seeds(both, seeds_lps_mm)
    other = sagittal(both)
    parts = split_by_seeds(other, seeds_lps_mm)
    np.testing.assert_array_equal(canonical(other.with_array(parts))[0].array, plain)


def test_the_area_of_a_cut_counts_faces_between_parts_only():
    parts = np.zeros((2, 2, 3), int)
    parts[0], parts[1, :, :2] = 1, 2
    assert cut_mm2(parts, MM) == 4.0
