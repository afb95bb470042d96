"""Names, units and definitions of the measures of a case."""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import attrgetter

from spinemamba.evaluation.scores import Comparison


@dataclass(frozen=True)
class _Measure:
    """A measure of a case.

    Attributes:
        key: Name in files.
        title: Name in tables.
        unit: "mm", or "" for a share in [0, 1].
        meaning: Definition, as a sentence.
        path: Attribute path in `Comparison`.
    """

    key: str
    title: str
    unit: str
    meaning: str
    path: str

    def of(self, score: Comparison) -> float:
        """Return the value of a case; NaN if it is undefined."""
        return float(attrgetter(self.path)(score))

    def text(self, value: float) -> str:
        """Return a value formatted for tables."""
        if math.isnan(value):
            return "-"
        return f"{value:.2f}" if self.unit == "mm" else f"{value:.3f}"

    @property
    def head(self) -> str:
        """Title and unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


MEASURES = (
    _Measure(
        "bone_dice",
        "Bone Dice",
        "",
        "All vertebrae against background.",
        "bone_dice",
    ),
    _Measure(
        "bone_hd95_mm",
        "Bone HD95",
        "mm",
        "95th percentile of the distances between the two bone surfaces, the larger direction.",
        "bone_surface.hd95_mm",
    ),
    _Measure(
        "bone_assd_mm",
        "Bone ASSD",
        "mm",
        "Mean distance between the two bone surfaces, both directions pooled.",
        "bone_surface.assd_mm",
    ),
    _Measure(
        "dice_matched",
        "Dice, matched",
        "",
        "Mean over the reference's vertebrae of the Dice with the prediction matched by overlap, "
        "whatever its name; a missed one counts as 0.",
        "mean_dice",
    ),
    _Measure(
        "dice_named",
        "Dice, by name",
        "",
        "Mean over the reference's vertebrae of the Dice with the prediction of the same name, as "
        "in VerSe; a missing name counts as 0.",
        "mean_named_dice",
    ),
    _Measure(
        "hd95_matched_mm",
        "HD95, matched",
        "mm",
        "Mean over matched vertebrae; missed ones have no distance, so read it with their number.",
        "hd95_mm",
    ),
    _Measure(
        "assd_matched_mm",
        "ASSD, matched",
        "mm",
        "Average symmetric surface distance, mean over matched vertebrae.",
        "assd_mm",
    ),
    _Measure(
        "hd95_named_mm",
        "HD95, by name",
        "mm",
        "Mean over the names in both images; large if names are wrong.",
        "named_hd95_mm",
    ),
    _Measure(
        "assd_named_mm",
        "ASSD, by name",
        "mm",
        "Mean over the names in both images.",
        "named_assd_mm",
    ),
    _Measure(
        "identification_rate",
        "Identification rate",
        "",
        "VerSe: share of the reference's vertebrae whose prediction of the same name is nearest to "
        "them and at most 20 mm away. Positions are centroids of the masks.",
        "identification_rate",
    ),
    _Measure(
        "localisation_mm",
        "Localisation distance",
        "mm",
        "VerSe: mean distance between the centroids of masks of the same name.",
        "localisation_mm",
    ),
    _Measure(
        "f1",
        "Instance F1",
        "",
        "2 TP / (2 TP + FP + FN); a vertebra is detected if IoU > 0.5, whatever its name.",
        "f1",
    ),
    _Measure(
        "pq",
        "Panoptic quality",
        "",
        "Sum of the IoU of true positives / (TP + FP / 2 + FN / 2), whatever their names.",
        "pq",
    ),
)
"""All measures, in the order of tables."""
