"""Segment whole cases with a network in training, and score them as `spinemamba evaluate`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from spinemamba.common.errors import Code, UserError
from spinemamba.evaluation.cases import Case
from spinemamba.evaluation.cohort import Outcome
from spinemamba.evaluation.compare import compare
from spinemamba.evaluation.scores import Comparison, mean
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import write_image
from spinemamba.inference.model import LoadedNetwork, Model
from spinemamba.segment import SegmentOptions, segment
from spinemamba.training.architectures import SPACING_MM
from spinemamba.training.layouts.read_labels import read_case_labels
from spinemamba.training.layouts.user_case import UserCase

if TYPE_CHECKING:
    from torch import Tensor

    from spinemamba.training.loop import Trainer

Quality = Literal["fast", "standard"]


@dataclass(frozen=True)
class Scores:
    """Means over the validation cases.

    Attributes:
        bone_dice: Dice of all vertebrae against background.
        vertebra_dice: Mean Dice per vertebra, matched by overlap; missed ones count as 0.
        vertebra_dice_named: The same with the vertebra of the same name.
        level_accuracy: Share of the vertebrae of the references that have the right level.
        missed: Number of vertebrae of the references that were not found.
    """

    bone_dice: float
    vertebra_dice: float
    vertebra_dice_named: float
    level_accuracy: float
    missed: int

    @property
    def score(self) -> float:
        """Mean of bone Dice, Dice per vertebra and level accuracy, by which weights are chosen."""
        return mean((self.bone_dice, self.vertebra_dice, self.level_accuracy))


def scores_of(comparisons: Sequence[Comparison]) -> Scores:
    """Return the means over cases; an undefined value, as without vertebrae, does not count."""
    vertebrae = [v for c in comparisons for v in c.vertebrae]
    return Scores(
        mean(c.bone_dice for c in comparisons),
        mean(c.mean_dice for c in comparisons),
        mean(c.mean_named_dice for c in comparisons),
        mean(float(v.found_as == v.name) for v in vertebrae),
        sum(v.found_as is None for v in vertebrae),
    )


def model_in_training(
    trainer: Trainer, weights: dict[str, Tensor], stage: str, other: Model
) -> Model:
    """Return a model with the network in training, and the other networks of a model.

    Args:
        trainer: The training.
        weights: Weights to use, such as the average.
        stage: "coarse" or "fine".
        other: Model of the other networks.
    """
    network = copy.deepcopy(trainer.network).eval()
    network.load_state_dict(weights)
    beside = other.fine if stage == "coarse" else other.coarse
    device = next(network.parameters()).device
    own = LoadedNetwork(network, SPACING_MM[stage], device, beside.precision)
    networks = {"coarse": other.coarse, "fine": other.fine} | {stage: own}
    return Model(other.card, networks["coarse"], networks["fine"], other.levels)


def score_case(
    case: UserCase, model: Model, *, quality: Quality = "fast", distances: bool = False
) -> tuple[Comparison, Volume]:
    """Segment a case and compare it with its labels.

    A case in which no spine is found has no vertebra. Voxels that the data set leaves out do not
    count.

    Returns:
        The scores, and the labels of the segmentation.

    Raises:
        UserError: If a file cannot be read, or memory is too small.
    """
    image = read_volume(case.image)
    reference, left_out = read_case_labels(case)
    reference = reference.on(image.geometry)
    options = SegmentOptions(modality=case.modality, quality=quality)
    try:
        labels = segment(image, model, options).labels
    except UserError as error:
        if error.code is not Code.NO_SPINE:
            raise
        labels = image.with_array(np.zeros(image.array.shape, np.uint8))
    labels = Volume(labels.array, image.geometry)
    if left_out is not None:
        labels.array[left_out] = 0
    return compare(labels, reference, distances=distances), labels


def validate(cases: Sequence[UserCase], model: Model, report: Callable[[str], None]) -> Scores:
    """Return the scores of a model on whole cases.

    A case that cannot be segmented is reported, and all its vertebrae are missed: a training of
    days must not end because of it.
    """
    comparisons = []
    for case in cases:
        try:
            comparisons.append(score_case(case, model)[0])
        except Exception as error:  # also a bug, which an unusual network may meet first
            why = error.message if isinstance(error, UserError) else type(error).__name__
            report(f"warning: {case.name} was not segmented in the validation: {why}")
            comparisons.append(_all_missed(case))
    return scores_of(comparisons)


def _all_missed(case: UserCase) -> Comparison:
    """Return the scores of an empty segmentation.

    Raises:
        UserError: If the labels cannot be read.
    """
    reference, _ = read_case_labels(case)
    nothing = reference.with_array(np.zeros(reference.array.shape, np.uint8))
    return compare(nothing, reference, distances=False)


def evaluate_and_save(cases: Sequence[UserCase], model: Model, folder: Path) -> Iterator[Outcome]:
    """Segment the cases in the quality of the product, write the labels, and yield the scores.

    An error in one case does not stop the others. Surface distances need MONAI.

    Args:
        cases: The cases.
        model: The model.
        folder: Folder of the label images, which are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    distances = find_spec("monai") is not None
    for case in cases:
        path = folder / f"{case.name.replace('/', '_')}.nii.gz"
        pair = Case(case.name, path, case.labels)
        try:
            score, labels = score_case(case, model, quality="standard", distances=distances)
            write_image(labels, path)
        except UserError as error:
            yield Outcome(pair, None, str(error))
            continue
        yield Outcome(pair, score)
