"""Scores of a vertebra and of a case, and surface distances by MONAI."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from spinemamba.common.errors import Code, UserError
from spinemamba.evaluation.pair import INSTANCE_IOU

_PERCENTILE = 95
"""Percentile of the robust Hausdorff distance."""


@dataclass(frozen=True)
class SurfaceDistance:
    """Distances between two surfaces; NaN if a mask is empty.

    Attributes:
        hd95_mm: Robust Hausdorff distance: 95th percentile of the distances from one surface to
            the other, the larger of both directions.
        assd_mm: Average symmetric surface distance: mean over all surface voxels of both masks.
    """

    hd95_mm: float
    assd_mm: float


NO_DISTANCE = SurfaceDistance(math.nan, math.nan)


@dataclass(frozen=True)
class VertebraScore:
    """Scores of one vertebra of the reference.

    The *matched* vertebra is the prediction matched by overlap, whatever its level; the *named*
    vertebra is the prediction with the same level, wherever it is. If the level is right, they are
    the same.

    Attributes:
        name: Level.
        found_as: Level of the matched vertebra; None if it was missed.
        cut: Whether it is truncated in the reference.
        volume_ml: Volume in the reference.
        iou: Intersection over union with the matched vertebra; 0 if it was missed.
        dice: Dice with the matched vertebra; 0 if it was missed.
        surface: Distances to the matched vertebra; NaN if it was missed.
        named_dice: Dice with the named vertebra; 0 if it does not exist.
        named_surface: Distances to the named vertebra; NaN if it does not exist.
        centre_mm: Distance to the centroid of the named vertebra; NaN if it does not exist.
        identified: Whether it was identified, as defined by VerSe.
    """

    name: str
    found_as: str | None
    cut: bool
    volume_ml: float
    iou: float
    dice: float
    surface: SurfaceDistance
    named_dice: float
    named_surface: SurfaceDistance
    centre_mm: float
    identified: bool


@dataclass(frozen=True)
class Comparison:
    """Scores of a case.

    Attributes:
        bone_dice: Dice of all vertebrae against background; NaN if both are empty.
        bone_surface: Distances between the two bone masks; NaN if one is empty.
        vertebrae: Scores of the vertebrae of the reference, from top to bottom.
        extra: Levels of predicted vertebrae without a match, which are false positives.
        beyond: Levels of predicted vertebrae outside the labelled part, which are not counted.
    """

    bone_dice: float
    bone_surface: SurfaceDistance
    vertebrae: tuple[VertebraScore, ...]
    extra: tuple[str, ...]
    beyond: tuple[str, ...]

    @property
    def found(self) -> bool:
        """Whether the segmentation contains a vertebra."""
        return bool(self.counted or self.beyond)

    @property
    def note(self) -> str:
        """Why scores are missing or 0 if an image contains no vertebra; empty otherwise."""
        if not self.vertebrae and not self.found:
            return (
                "Neither the segmentation nor the reference contains a vertebra: "
                "Dice, distances and rates are undefined."
            )
        if not self.vertebrae:
            return (
                "The reference contains no vertebra: scores per vertebra are undefined, "
                "and all predicted vertebrae are extra."
            )
        if not self.found:
            return "The segmentation contains no vertebra: all are missed, distances are undefined."
        return ""

    @property
    def mean_dice(self) -> float:
        """Mean Dice of the reference's vertebrae, matched by overlap; missed ones count as 0."""
        return mean(v.dice for v in self.vertebrae)

    @property
    def mean_named_dice(self) -> float:
        """Mean Dice of the reference's vertebrae by name; missing names count as 0."""
        return mean(v.named_dice for v in self.vertebrae)

    @property
    def hd95_mm(self) -> float:
        """Mean HD95 of the matched vertebrae."""
        return mean(v.surface.hd95_mm for v in self.vertebrae)

    @property
    def assd_mm(self) -> float:
        """Mean ASSD of the matched vertebrae."""
        return mean(v.surface.assd_mm for v in self.vertebrae)

    @property
    def named_hd95_mm(self) -> float:
        """Mean HD95 by name, over the names in both images."""
        return mean(v.named_surface.hd95_mm for v in self.vertebrae)

    @property
    def named_assd_mm(self) -> float:
        """Mean ASSD by name, over the names in both images."""
        return mean(v.named_surface.assd_mm for v in self.vertebrae)

    @property
    def identified(self) -> int:
        """Number of identified vertebrae, as defined by VerSe."""
        return sum(v.identified for v in self.vertebrae)

    @property
    def identification_rate(self) -> float:
        """Share of identified vertebrae of the reference; NaN if it has none."""
        return mean(v.identified for v in self.vertebrae)

    @property
    def localisation_mm(self) -> float:
        """Mean distance between centroids of the same name, over the names in both images."""
        return mean(v.centre_mm for v in self.vertebrae)

    @property
    def named_right(self) -> int:
        """Number of vertebrae with the right level."""
        return sum(v.found_as == v.name for v in self.vertebrae)

    @property
    def missed(self) -> int:
        """Number of vertebrae of the reference without a match."""
        return sum(v.found_as is None for v in self.vertebrae)

    @property
    def all_right(self) -> bool | None:
        """Whether all levels are right, and no vertebra is missed or extra.

        None if both the reference and the prediction have no vertebra.
        """
        if not self.vertebrae and not self.extra:
            return None
        return self.named_right == len(self.vertebrae) and not self.extra

    @property
    def detected(self) -> int:
        """Number of true positives: matches with an IoU above `INSTANCE_IOU`."""
        return sum(v.iou > INSTANCE_IOU for v in self.vertebrae)

    @property
    def counted(self) -> int:
        """Number of predicted vertebrae that count: matched and extra ones."""
        return len(self.vertebrae) - self.missed + len(self.extra)

    @property
    def f1(self) -> float:
        """Instance F1, 2 TP / (2 TP + FP + FN), regardless of levels; NaN if both are empty."""
        return share(2 * self.detected, len(self.vertebrae) + self.counted)

    @property
    def iou_sum(self) -> float:
        """Sum of the IoU of all true positives."""
        return sum(v.iou for v in self.vertebrae if v.iou > INSTANCE_IOU)

    @property
    def pq(self) -> float:
        """Panoptic quality, sum of IoU of TP / (TP + FP / 2 + FN / 2); NaN if both are empty.

        Kirillov et al., Panoptic Segmentation, CVPR 2019, equation 1, with all vertebrae as one
        class.
        """
        return share(2 * self.iou_sum, len(self.vertebrae) + self.counted)


def mean(values: Iterable[float]) -> float:
    """Return the mean of the values that are not NaN; NaN if there are none."""
    finite = [float(value) for value in values if not math.isnan(value)]
    return float(np.mean(finite)) if finite else math.nan


def share(part: float, whole: float) -> float:
    """Return ``part / whole``; NaN if the whole is 0."""
    return part / whole if whole else math.nan


def surface_distance(
    predicted: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, float, float]
) -> SurfaceDistance:
    """Return the distances between the surfaces of two masks.

    The surface of a mask consists of its voxels with a face to the background. The outside of the
    array counts as background, so masks can be cropped to their joint bounding box. If the field
    of view truncates a vertebra, the cut face is part of the surface in both masks.

    Args:
        predicted: Mask, shape (z, y, x).
        truth: Mask of the same shape.
        spacing_mm: Distance between voxel centres along z, y, x.

    Returns:
        The distances; NaN if a mask is empty.

    Raises:
        UserError: If MONAI is not installed (DEPENDENCY_MISSING).
    """
    if not (predicted.any() and truth.any()):
        return NO_DISTANCE
    try:
        from monai.metrics import get_mask_edges, get_surface_distance
    except ImportError as error:
        raise UserError(
            "The Python package monai, which measures surface distances, is not installed.",
            "Install it with pip, or skip surface distances with --no-distances.",
            Code.DEPENDENCY_MISSING,
        ) from error
    edges = [np.asarray(edge, bool) for edge in get_mask_edges(predicted, truth)]
    distances_mm = [
        np.asarray(get_surface_distance(start, end, spacing=spacing_mm), float)
        for start, end in (edges, edges[::-1])
    ]
    hd95_mm = max(float(np.percentile(d, _PERCENTILE)) for d in distances_mm)
    return SurfaceDistance(hd95_mm, float(np.concatenate(distances_mm).mean()))
