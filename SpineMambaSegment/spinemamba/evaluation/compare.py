"""Score a segmentation against a reference: by level, by overlap, and as a whole."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.evaluation.pair import LabelPair, Side, joint_box, match_by_overlap, pair_labels
from spinemamba.evaluation.scores import (
    NO_DISTANCE,
    Comparison,
    SurfaceDistance,
    VertebraScore,
    surface_distance,
)
from spinemamba.imaging.masks import dice_of_counts
from spinemamba.imaging.volume import Volume

_LABELLED_SHARE = 0.5
"""Smallest labelled share of an unmatched vertebra that belongs to the labelled part."""

_HIT_MM = 20.0
"""Largest distance of an identified vertebra from its true position (VerSe)."""


def compare(predicted: Volume, reference: Volume, *, distances: bool = True) -> Comparison:
    """Score a segmentation.

    Special cases:

    - **Visible, but unlabelled vertebrae.** A reference often labels only a part of the spine. A
      predicted vertebra without a match, whose centroid is above or below the centroids of all
      labelled ones and of which less than `_LABELLED_SHARE` is labelled, is neither right nor
      wrong: it is listed as beyond, and excluded from the bone mask, F1, PQ and the all-right
      rate. The scores by name follow VerSe, which has no such rule.
    - **Extra.** Every other predicted vertebra without a match is extra: a false positive for F1,
      PQ, the bone mask and the all-right rate, also between labelled ones. An extra vertebra has
      no Dice, because means are over the vertebrae of the reference.
    - **Missed.** Dice and IoU are 0. Distances are NaN and excluded from means, because no finite
      value would be fair; report HD95 together with the number of missed vertebrae.
    - **Truncated, or partly labelled.** Only the labelled part counts: predicted voxels beyond it
      are false positives. `VertebraScore.cut` marks the truncated vertebrae.
    - **Two predictions on one vertebra, or one on two.** Matching is one to one: the better one is
      the match, the other one is extra, or missed.
    - **Empty prediction.** Dice, identification rate, F1 and PQ are 0, distances NaN.
    - **Empty reference.** Every predicted vertebra is extra, F1 and PQ are 0, means over
      vertebrae NaN. If both are empty, all values are NaN.

    Args:
        predicted: Label image.
        reference: Label image on the same grid, in any orientation.
        distances: Whether to compute surface distances, which take most of the time; otherwise
            they are NaN.

    Raises:
        UserError: As `pair_labels` and `surface_distance`.
    """
    pair = pair_labels(predicted, reference)
    matches = match_by_overlap(pair)
    unmatched = pair.predicted.boxes.keys() - {value for value, _ in matches.values()}
    beyond = {value for value in unmatched if _is_beyond(pair, value)}
    counted = [value for value in pair.predicted.boxes if value not in beyond]
    scorer = _Scorer(pair, matches, distances)
    common = int(pair.shared[counted, 1:].sum())
    sizes = int(pair.shared[counted].sum()), int(pair.shared[:, 1:].sum())
    return Comparison(
        dice_of_counts(common, *sizes),
        scorer.bone_surface(counted),
        tuple(scorer.vertebra(value) for value in BY_VALUE if value in pair.truth.boxes),
        _names(unmatched - beyond),
        _names(beyond),
    )


def _names(values: set[int]) -> tuple[str, ...]:
    return tuple(label.name for value, label in BY_VALUE.items() if value in values)


def _is_beyond(pair: LabelPair, value: int) -> bool:
    """Return whether an unmatched prediction is beyond the labelled part of the spine."""
    heights = [centre[0] for centre in pair.truth.centres_mm.values()]
    if not heights or min(heights) <= pair.predicted.centres_mm[value][0] <= max(heights):
        return False
    return bool(pair.shared[value, 1:].sum() < _LABELLED_SHARE * pair.shared[value].sum())


def _identified(pair: LabelPair, value: int) -> bool:
    """Return whether a true vertebra was identified.

    The definition is that of `get_hits` in VerSe (anjany/verse, utils/eval_utilities.py): both
    images have the level; among the true vertebrae whose level was predicted, the nearest one to
    the prediction has the same level; and it is at most 20 mm away. Positions are centroids of the
    masks here, and manually annotated centres of the vertebral bodies in VerSe.
    """
    if value not in pair.predicted.centres_mm:
        return False
    position = pair.predicted.centres_mm[value]
    distances_mm = {
        other: float(np.linalg.norm(position - centre))
        for other, centre in pair.truth.centres_mm.items()
        if other in pair.predicted.centres_mm
    }
    return distances_mm[value] <= min(_HIT_MM, *distances_mm.values())


@dataclass(frozen=True)
class _Scorer:
    """Computes the scores of one pair.

    Attributes:
        pair: The two label images.
        matches: Result of `match_by_overlap`.
        distances: Whether to compute surface distances.
    """

    pair: LabelPair
    matches: dict[int, tuple[int, float]]
    distances: bool

    def vertebra(self, value: int) -> VertebraScore:
        """Return the scores of a true vertebra."""
        pair = self.pair
        match, iou = self.matches.get(value, (None, 0.0))
        surface = self._surface(match, value)
        named = value if value in pair.predicted.boxes else None
        centres = [side.centres_mm.get(value) for side in (pair.predicted, pair.truth)]
        voxels = int(pair.shared[:, value].sum())
        return VertebraScore(
            name=BY_VALUE[value].name,
            found_as=BY_VALUE[match].name if match else None,
            cut=value in pair.cut,
            volume_ml=voxels * pair.truth.voxel_ml,
            iou=iou,
            dice=self._dice(match, value),
            surface=surface,
            named_dice=self._dice(named, value),
            named_surface=surface if named == match else self._surface(named, value),
            centre_mm=float(np.linalg.norm(centres[0] - centres[1])) if named else math.nan,
            identified=_identified(pair, value),
        )

    def bone_surface(self, counted: list[int]) -> SurfaceDistance:
        """Return the distances between the bone masks, with these predicted values only."""
        return self._between(counted, list(self.pair.truth.boxes))

    def _dice(self, predicted: int | None, true: int) -> float:
        if predicted is None:
            return 0.0
        shared = self.pair.shared
        sizes = int(shared[predicted].sum()), int(shared[:, true].sum())
        return dice_of_counts(int(shared[predicted, true]), *sizes)

    def _surface(self, predicted: int | None, true: int) -> SurfaceDistance:
        return self._between([predicted] if predicted else [], [true])

    def _between(self, predicted: list[int], true: list[int]) -> SurfaceDistance:
        """Return the distances between the masks of several values, cropped to their box."""
        if not (self.distances and predicted and true):
            return NO_DISTANCE
        sides: list[tuple[Side, list[int]]] = [
            (self.pair.predicted, predicted),
            (self.pair.truth, true),
        ]
        box = joint_box([side.boxes[value] for side, values in sides for value in values])
        masks = (np.isin(side.array[box], values) for side, values in sides)
        return surface_distance(*masks, self.pair.truth.spacing_mm)
