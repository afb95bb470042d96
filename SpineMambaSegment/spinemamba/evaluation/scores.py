"""What a comparison found: numbers of a vertebra and of a case."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from spinemamba.evaluation.pair import INSTANCE_IOU
from spinemamba.evaluation.surfaces import SurfaceDistance


@dataclass(frozen=True)
class VertebraScore:
    """One vertebra of the reference.

    "Matched" is the found vertebra that lies on it, whatever its name; "named" is the found
    vertebra that bears its name, wherever it lies. For a vertebra that was named right these are
    one and the same.

    Attributes:
        name: Its level.
        found_as: Level of the matched vertebra; None if it was missed.
        cut: Whether the edge of the image cuts the reference, so that a part is not in view.
        volume_ml: Its volume in the reference.
        iou: Intersection over union with the matched vertebra; 0 if it was missed.
        dice: Dice with the matched vertebra; 0 if it was missed.
        surface: Distances to the matched vertebra; NaN if it was missed.
        named_dice: Dice with the named vertebra; 0 if there is none.
        named_surface: Distances to the named vertebra; NaN if there is none.
        centre_mm: Distance between its centroid and the named vertebra's; NaN if there is none.
        identified: Whether it was identified as VerSe defines it.
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
    """A case.

    Attributes:
        bone_dice: All vertebrae against background; NaN if both are empty.
        bone_surface: Distances between the two bone masks; NaN if one is empty.
        vertebrae: Each vertebra of the reference, from head to tail.
        extra: Levels of found vertebrae that lie on none of the reference's and count as wrong.
        beyond: Levels of found vertebrae outside of the labelled part, which count nowhere.
    """

    bone_dice: float
    bone_surface: SurfaceDistance
    vertebrae: tuple[VertebraScore, ...]
    extra: tuple[str, ...]
    beyond: tuple[str, ...]

    @property
    def found(self) -> bool:
        """Whether the segmentation holds a vertebra."""
        return bool(self.counted or self.beyond)

    @property
    def note(self) -> str:
        """Why scores are not given or 0 when a side holds no vertebra; empty otherwise."""
        if not self.vertebrae and not self.found:
            return (
                "Neither the segmentation nor the reference holds a vertebra: "
                "no Dice, distance or rate is given."
            )
        if not self.vertebrae:
            return (
                "The reference holds no vertebra: no score per vertebra is given, "
                "and whatever was found is extra."
            )
        if not self.found:
            return "The segmentation holds no vertebra: all are missed, and no distance is given."
        return ""

    @property
    def mean_dice(self) -> float:
        """Mean Dice of the reference's vertebrae after matching; missed ones count as 0."""
        return mean(v.dice for v in self.vertebrae)

    @property
    def mean_named_dice(self) -> float:
        """Mean Dice of the reference's vertebrae by name; a name that is missing counts as 0."""
        return mean(v.named_dice for v in self.vertebrae)

    @property
    def hd95_mm(self) -> float:
        """Mean HD95 of the vertebrae that were found, after matching."""
        return mean(v.surface.hd95_mm for v in self.vertebrae)

    @property
    def assd_mm(self) -> float:
        """Mean ASSD of the vertebrae that were found, after matching."""
        return mean(v.surface.assd_mm for v in self.vertebrae)

    @property
    def named_hd95_mm(self) -> float:
        """Mean HD95 by name, of the names that both have."""
        return mean(v.named_surface.hd95_mm for v in self.vertebrae)

    @property
    def named_assd_mm(self) -> float:
        """Mean ASSD by name, of the names that both have."""
        return mean(v.named_surface.assd_mm for v in self.vertebrae)

    @property
    def identified(self) -> int:
        """Number of vertebrae that were identified as VerSe defines it."""
        return sum(v.identified for v in self.vertebrae)

    @property
    def identification_rate(self) -> float:
        """Share of the reference's vertebrae that were identified; NaN if it has none."""
        return mean(v.identified for v in self.vertebrae)

    @property
    def localisation_mm(self) -> float:
        """Mean distance between centroids of the same name, of the names that both have."""
        return mean(v.centre_mm for v in self.vertebrae)

    @property
    def named_right(self) -> int:
        """Number of vertebrae that were found under their own level."""
        return sum(v.found_as == v.name for v in self.vertebrae)

    @property
    def missed(self) -> int:
        """Number of the reference's vertebrae on which nothing lies."""
        return sum(v.found_as is None for v in self.vertebrae)

    @property
    def all_right(self) -> bool | None:
        """Whether each vertebra bears its own level and none is missed or extra.

        None if there is no vertebra to name and none was found: neither right nor wrong.
        """
        if not self.vertebrae and not self.extra:
            return None
        return self.named_right == len(self.vertebrae) and not self.extra

    @property
    def detected(self) -> int:
        """Number of true positives: vertebrae matched with an IoU above `INSTANCE_IOU`."""
        return sum(v.iou > INSTANCE_IOU for v in self.vertebrae)

    @property
    def counted(self) -> int:
        """Number of found vertebrae that count: those that were matched, and the extra ones."""
        return len(self.vertebrae) - self.missed + len(self.extra)

    @property
    def f1(self) -> float:
        """Instance F1, 2 TP / (2 TP + FP + FN); levels play no part; NaN if both are empty."""
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
    """Return the mean of the values that are not NaN; NaN if there is none."""
    there = [float(value) for value in values if not math.isnan(value)]
    return float(np.mean(there)) if there else math.nan


def share(part: float, whole: float) -> float:
    """Return the quotient; NaN if the whole is 0."""
    return part / whole if whole else math.nan
