"""Score a segmentation against a reference: by name, by overlap, and as a whole."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.evaluation.pair import LabelPair, Side, joint_box, match_by_overlap, pair_labels
from spinemamba.evaluation.scores import Comparison, VertebraScore
from spinemamba.evaluation.surfaces import NO_DISTANCE, SurfaceDistance, surface_distance
from spinemamba.imaging.volume import Volume

OWN_SHARE = 0.5
"""A found vertebra without a partner belongs to the labelled part if this share is labelled."""

HIT_MM = 20.0
"""VerSe: a vertebra farther from its true place than this is not identified."""


def compare(predicted: Volume, reference: Volume, *, distances: bool = True) -> Comparison:
    """Score a segmentation.

    What counts, and how:

    - **Unlabelled, visible vertebrae.** A reference often labels a part of the spine only. A
      found vertebra without a partner, whose centre lies above or below the centres of all
      labelled ones and of which less than `OWN_SHARE` is labelled, is neither right nor wrong:
      it is listed as beyond and left out of bone mask, F1, PQ and all-right rate. The scores by
      name are VerSe's, which know no such rule: there a name counts wherever it lies.
    - **Extra.** Every other found vertebra without a partner is extra: a false positive for F1,
      PQ, the bone mask and the all-right rate, also between labelled ones. An extra vertebra
      has no Dice: means are over the vertebrae of the reference.
    - **Missed.** Dice and IoU are 0; distances are NaN and in no mean, for no number would be
      fair. Read HD95 together with the count of the missed.
    - **Cut by the image, or labelled in part.** The vertebra counts with what is labelled: a
      found part beyond that is wrong. `VertebraScore.cut` tells which the edge of the image cuts.
    - **Two found vertebrae on one, or one on two.** Matching is one to one: the better one is
      the partner; the other is extra, or missed.
    - **Empty prediction.** Dice, identification rate, F1 and PQ are 0, distances NaN.
    - **Empty reference.** An image without a vertebra: whatever was found is extra, F1 and PQ
      are 0, means over vertebrae NaN. If both are empty, everything is NaN.

    Args:
        predicted: Label values.
        reference: Label values on the same voxels, its axes in any order and direction.
        distances: Whether surface distances are measured, which takes most of the time; NaN
            otherwise.

    Raises:
        UserError: As `pair_labels` and `surface_distance`.
    """
    pair = pair_labels(predicted, reference)
    partners = match_by_overlap(pair)
    alone = pair.found.boxes.keys() - {value for value, _ in partners.values()}
    beyond = {value for value in alone if _is_beyond(pair, value)}
    counted = [value for value in pair.found.boxes if value not in beyond]
    scorer = _Scorer(pair, partners, distances)
    bone = pair.shared[counted, 1:].sum()
    sizes = pair.shared[counted].sum() + pair.shared[:, 1:].sum()
    return Comparison(
        float(2 * bone / sizes) if sizes else math.nan,
        scorer.bone_surface(counted),
        tuple(scorer.vertebra(value) for value in BY_VALUE if value in pair.truth.boxes),
        _names(alone - beyond),
        _names(beyond),
    )


def _names(values: set[int]) -> tuple[str, ...]:
    return tuple(label.name for value, label in BY_VALUE.items() if value in values)


def _is_beyond(pair: LabelPair, value: int) -> bool:
    """Return whether a found vertebra without a partner is beyond the labelled part."""
    heights = [centre[0] for centre in pair.truth.centres_mm.values()]
    if not heights or min(heights) <= pair.found.centres_mm[value][0] <= max(heights):
        return False
    return bool(pair.shared[value, 1:].sum() < OWN_SHARE * pair.shared[value].sum())


def _identified(pair: LabelPair, value: int) -> bool:
    """Return whether a true vertebra was identified.

    VerSe's `get_hits` (anjany/verse, utils/eval_utilities.py): both have the level; of all true
    vertebrae whose level was found somewhere, the one nearest to the found vertebra is its own;
    and that is at most 20 mm away. Places are centroids of the masks here; VerSe's are centres
    of vertebral bodies, set by hand.
    """
    if value not in pair.found.centres_mm:
        return False
    place = pair.found.centres_mm[value]
    away_mm = {
        other: float(np.linalg.norm(place - centre))
        for other, centre in pair.truth.centres_mm.items()
        if other in pair.found.centres_mm
    }
    return away_mm[value] <= min(HIT_MM, *away_mm.values())


@dataclass(frozen=True)
class _Scorer:
    """Measures the vertebrae of one pair.

    Attributes:
        pair: The two images.
        partners: What `match_by_overlap` returned.
        distances: Whether surface distances are wanted.
    """

    pair: LabelPair
    partners: dict[int, tuple[int, float]]
    distances: bool

    def vertebra(self, value: int) -> VertebraScore:
        """Return the scores of a true vertebra."""
        pair = self.pair
        partner, iou = self.partners.get(value, (None, 0.0))
        surface = self._surface(partner, value)
        named = value if value in pair.found.boxes else None
        centres = [side.centres_mm.get(value) for side in (pair.found, pair.truth)]
        voxels = int(pair.shared[:, value].sum())
        return VertebraScore(
            name=BY_VALUE[value].name,
            found_as=BY_VALUE[partner].name if partner else None,
            cut=value in pair.truth.cut,
            volume_ml=voxels * pair.truth.voxel_ml,
            iou=iou,
            dice=self._dice(partner, value),
            surface=surface,
            named_dice=self._dice(named, value),
            named_surface=surface if named == partner else self._surface(named, value),
            centre_mm=float(np.linalg.norm(centres[0] - centres[1])) if named else math.nan,
            identified=_identified(pair, value),
        )

    def bone_surface(self, counted: list[int]) -> SurfaceDistance:
        """Return the distances between the bone masks; only these found values count."""
        return self._between(counted, list(self.pair.truth.boxes))

    def _dice(self, found: int | None, true: int) -> float:
        if found is None:
            return 0.0
        shared = self.pair.shared
        return float(2 * shared[found, true] / (shared[found].sum() + shared[:, true].sum()))

    def _surface(self, found: int | None, true: int) -> SurfaceDistance:
        return self._between([found] if found else [], [true])

    def _between(self, found: list[int], true: list[int]) -> SurfaceDistance:
        """Return the distances between the masks of several values, cut to their box."""
        if not (self.distances and found and true):
            return NO_DISTANCE
        sides: list[tuple[Side, list[int]]] = [(self.pair.found, found), (self.pair.truth, true)]
        box = joint_box([side.boxes[value] for side, values in sides for value in values])
        masks = (np.isin(side.array[box], values) for side, values in sides)
        return surface_distance(*masks, self.pair.truth.spacing_mm)
