"""Re-segment one vertebra: read files, run the fine network, write mask and result."""

from __future__ import annotations

import numpy as np

from spinemamba import __version__
from spinemamba.common.atomic_files import all_or_none
from spinemamba.common.progress import Progress, Warn
from spinemamba.editing.resegment import SegmentedVertebra, TargetVertebra, resegment_vertebra
from spinemamba.imaging.intensity import choose_modality
from spinemamba.imaging.masks import dice
from spinemamba.imaging.orientation import with_axes_of
from spinemamba.imaging.read import read_labels, read_volume
from spinemamba.imaging.truncation import without_padding
from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import write_image
from spinemamba.inference.device import translate_out_of_memory, with_model
from spinemamba.inference.model import Model
from spinemamba.jobs.outputs import check_outputs
from spinemamba.protocol.job import ResegmentJob
from spinemamba.protocol.model_card import find_model, find_model_for
from spinemamba.protocol.vertebra_result import VertebraResult


def run_resegmentation(
    job: ResegmentJob, progress: Progress, warn: Warn
) -> tuple[Volume, VertebraResult]:
    """Segment the vertebra of a job; write mask and result, or neither.

    Args:
        job: Input and output files, and the vertebra or the point to segment at.
        progress: Called often; may stop the run by raising `Cancelled`.
        warn: Called with each warning.

    Returns:
        The mask on the grid of the input, and its properties.

    Raises:
        UserError: If an input, the model or an output is not usable, or memory runs out.
    """
    check_outputs(job)
    find_model(job.model)  # a wrong name is an error before a large file is read
    progress("read", 0.0)
    with translate_out_of_memory():
        mask, result = _segment(job, progress, warn)
        progress("write", 0.0)
        with all_or_none(job.outputs, overwrite=job.overwrite) as partial:
            write_image(mask, partial[job.output])
            if job.result is not None:
                result.write(partial[job.result])
        progress("write", 1.0)
    return mask, result


def _segment(job: ResegmentJob, progress: Progress, warn: Warn) -> tuple[Volume, VertebraResult]:
    image = read_volume(job.input, warn)
    labels = None if job.labels is None else read_labels(job.labels)
    modality = choose_modality(without_padding(image), job.modality, warn)
    folder = find_model_for(job.model, modality)
    target = TargetVertebra(job.point_lps_mm, job.replaced_label, job.locked_labels)

    def work(model: Model) -> tuple[Volume, VertebraResult]:
        progress("read", 1.0)
        segmented = resegment_vertebra(image, labels, target, (model.fine, modality), progress)
        before = None if labels is None else with_axes_of(image, labels)
        return segmented.mask, _result(segmented, before, job.replaced_label, (model, modality))

    return with_model(folder, job, warn, work)


def _result(
    segmented: SegmentedVertebra,
    labels: Volume | None,
    replaced: int,
    model_and_modality: tuple[Model, str],
) -> VertebraResult:
    model, modality = model_and_modality
    mask, geometry = segmented.mask.array > 0, segmented.mask.geometry
    centre = geometry.to_lps_mm(np.argwhere(mask).mean(axis=0))
    old = None if labels is None or not replaced else labels.array == replaced
    return VertebraResult(
        replaced_label=replaced,
        point_lps_mm=segmented.point_lps_mm,
        centroid_lps_mm=tuple(float(v) for v in centre),
        volume_ml=float(mask.sum()) * geometry.voxel_ml,
        level_probabilities=segmented.level_probabilities,
        cut_sides=segmented.cut_sides,
        dice_before=None if old is None else dice(mask, old),
        seeded=segmented.seeded,
        model_name=model.card.name,
        model_version=model.card.version,
        model_hash=model.card.hash(),
        package_version=__version__,
        device=str(model.fine.device),
        modality=modality,
    )
