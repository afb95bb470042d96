"""Measure a labelled spine: all steps from labels to measurements."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from spinemamba import __version__
from spinemamba.anatomy.labels import BY_NAME, BY_VALUE, ORDER
from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.truncation import SIDES as IMAGE_SIDES
from spinemamba.imaging.truncation import FieldOfView, crop_volume, cut_sides, data_box
from spinemamba.imaging.volume import Volume
from spinemamba.measure.angles import adjacent, angle_items, curve_items
from spinemamba.measure.body import Body
from spinemamba.measure.body_guess import initial_frames, patches_of
from spinemamba.measure.discs import DIRECTED, disc_numbers, missing_disc, not_neighbours
from spinemamba.measure.frame import Frame, Patch
from spinemamba.measure.landmarks import landmarks
from spinemamba.measure.sagittal_stack import is_sagittal_stack, without_unseen
from spinemamba.measure.stance import NO_SIDE, Stance, stance_of
from spinemamba.measure.vertebra import (
    SIDES,
    Vertebra,
    body_of,
    genant_grade,
    height_loss,
    numbers,
    plate_of,
    vector,
)
from spinemamba.protocol.measurements import Item, Measurements

_COARSE_MM = 2.0
"""With voxels larger than this in any direction, a note warns of limited accuracy."""

_IN_SLICES = (
    "MR with thick sagittal slices: heights, discs, the depth of the canal, slips and sagittal "
    "angles are measured; what extends from left to right is not, nor are coronal curves."
)

_DOUBLE = "its label contains two bodies"

Progress = Callable[[str, float], None]


def measure(
    labels: Volume,
    image: Volume | None = None,
    modality: str = "",
    progress: Progress = lambda name, fraction: None,
    known_cuts: Mapping[str, tuple[str, ...]] | None = None,
) -> Measurements:
    """Measure every vertebra, the discs between them, and angles and curves of the spine.

    Arguments and errors are those of `measure_with_stance`.
    """
    return measure_with_stance(labels, image, modality, progress, known_cuts)[0]


def measure_with_stance(
    labels: Volume,
    image: Volume | None,
    modality: str,
    progress: Progress,
    known_cuts: Mapping[str, tuple[str, ...]] | None = None,
) -> tuple[Measurements, Stance]:
    """Measure a spine, and return its position in the header's coordinates, too.

    Args:
        labels: Label image with VerSe's values, in any orientation.
        image: Segmented image on the same grid, in any orientation; a CT gives densities.
        modality: "ct", "mr", or "" without an image.
        progress: Called with the next level and the completed share; may raise `Cancelled`.
        known_cuts: Sides at which each level is truncated, according to the run that made the
            labels. Without the image, padding within the array cannot be detected.

    Raises:
        UserError: If the labels contain no known level (NO_SPINE), or the image has another grid.
    """
    digest = hashlib.sha256(np.ascontiguousarray(labels.array, np.uint8)).hexdigest()
    upright = canonical(labels)[0]
    on_grid = None if image is None else _on_grid_of(upright, image)
    if on_grid is not None:
        box = data_box(on_grid.array)
        upright, on_grid = crop_volume(upright, box), crop_volume(on_grid, box)
    sides = _sides(upright, on_grid, known_cuts or {})
    stance = stance_of(landmarks(upright, {value for value, cut in sides.items() if cut}))
    sides = {value: stance.sides(cut) for value, cut in sides.items()}
    ct = canonical(stance.stand(on_grid))[0] if on_grid is not None and modality == "ct" else None
    standing = canonical(stance.stand(upright))[0]
    vertebrae = list(_find_vertebrae(standing, sides, stance, progress))
    vertebrae.sort(key=lambda vertebra: ORDER[vertebra.name])
    progress("discs and curves", 1.0)
    discs = list(_disc_items(vertebrae, stance))
    stance = stance.with_breaks([item.name for item in discs if not_neighbours(item.reasons)])
    items = [*_vertebra_items(vertebrae, ct, stance), *discs]
    items += [*angle_items(vertebrae, stance), *curve_items(vertebrae, stance)]
    notes = list(_notes(labels))
    if is_sagittal_stack(upright.spacing_mm, modality):
        items = without_unseen(items, upright.spacing_mm[2])
        notes.append(_IN_SLICES)
    measured = Measurements(
        package_version=__version__,
        labels_sha256=digest,
        spacing_mm=labels.spacing_mm,
        modality=modality,
        items=tuple(map(stance.back, items)),
        notes=tuple(notes),
        alerts=stance.notes,
    )
    return measured, stance


def _on_grid_of(labels: Volume, image: Volume) -> Volume:
    """Return the image with the geometry of the labels.

    Args:
        labels: Label image in canonical orientation.
        image: Image on the same grid, in any orientation.

    Returns:
        The image in canonical orientation.

    Raises:
        UserError: If the grids differ.
    """
    upright = canonical(image)[0]
    if difference := upright.geometry.difference(labels.geometry):
        raise UserError(
            f"Image and labels have different grids: {difference}.",
            "Give the image that was segmented.",
        )
    return upright.on(labels.geometry)


def _sides(
    labels: Volume, image: Volume | None, known: Mapping[str, tuple[str, ...]]
) -> dict[int, tuple[str, ...]]:
    """Return the sides at which each vertebra is truncated, by label value."""
    grid = labels.geometry
    view = FieldOfView.of_grid(grid) if image is None else FieldOfView.of_image(image)
    truncated = {}
    for value, patch in patches_of(labels).items():
        voxels = np.argwhere(labels.array[patch.box] == value) + [s.start for s in patch.box]
        sides = {*cut_sides(voxels, grid, view), *known.get(BY_VALUE[value].name, ())}
        truncated[value] = tuple(s for names in IMAGE_SIDES for s in names if s in sides)
    return truncated


def _find_vertebrae(
    labels: Volume, sides: Mapping[int, tuple[str, ...]], stance: Stance, progress: Progress
) -> Iterable[Vertebra]:
    """Yield the vertebrae in their spatial order, top to bottom.

    Args:
        labels: Label image in canonical orientation, rotated so that the spine is upright.
        sides: Sides at which each vertebra is truncated, by label value, in the same frame.
        stance: Position of the spine.
        progress: As for `measure`.

    Raises:
        UserError: If the labels contain no known level (NO_SPINE).
    """
    named = patches_of(labels, sides)
    if not named:
        raise UserError(
            "The labels contain no vertebra.",
            "Choose a label image with the values of the label table.",
            Code.NO_SPINE,
        )
    order = stance.along([BY_VALUE[value].name for value in named])
    patches = {value: named[value] for value in (BY_NAME[name].value for name in order)}
    voxels = {
        value: np.argwhere(labels.array[patch.box] == value) + [s.start for s in patch.box]
        for value, patch in patches.items()
    }
    unsure = {v for v, cut in sides.items() if cut or BY_VALUE[v].name not in stance.order}
    frames = initial_frames(patches, unsure)
    above: Body | None = None
    for k, (value, patch) in enumerate(patches.items()):
        name, start = BY_VALUE[value].name, frames[value]
        progress(name, k / len(patches))
        if name == "Sacrum" and above is not None:
            start = below(above, patch, start)
        if name in stance.doubles:
            body, reason = None, _DOUBLE
        else:
            body, reason = body_of(patch, start, name, sides[value])
        centroid = labels.geometry.to_lps_mm(voxels[value].mean(axis=0))
        volume_ml = len(voxels[value]) * labels.geometry.voxel_ml
        yield Vertebra(value, name, patch, centroid, volume_ml, sides[value], body, reason)
        above = body


def below(above: Body, patch: Patch, frame: Frame) -> Frame:
    """Return a frame in the first segment of the sacrum, below the last body."""
    if -1 not in above.plates:
        return frame
    floor = above.plates[-1].centre_lps_mm
    gap = patch.entries_mm(floor[None] + 1e-6, -above.frame.up, 40.0)[0]
    if np.isnan(gap):
        return frame
    return Frame(floor - (gap + 8.0) * above.frame.up, above.frame.axes_lps)


def _vertebra_items(
    vertebrae: Sequence[Vertebra], ct: Volume | None, stance: Stance
) -> Iterable[Item]:
    measured = [_numbers(vertebra, ct, stance) for vertebra in vertebrae]
    for k, vertebra in enumerate(vertebrae):
        values, reasons = measured[k]
        neighbours = [
            measured[j][0]
            for j in (k - 1, k + 1)
            if 0 <= j < len(vertebrae)
            and _are_neighbours(*sorted((vertebrae[j].name, vertebra.name), key=ORDER.get), stance)
        ]
        loss = height_loss(values, neighbours)
        words = {"cut": ", ".join(vertebra.cut_sides)} if vertebra.cut_sides else {}
        graded = loss is not None and vertebra.name[0] in "TL"
        values["height_loss_percent"] = None if loss is None else loss[0]
        values["genant_grade"] = float(genant_grade(loss[0])) if graded else None
        if loss is None:
            reasons["height_loss_percent"] = reasons["genant_grade"] = vertebra.reason
        elif not graded:
            reasons["genant_grade"] = "only thoracic and lumbar vertebrae are graded"
        elif values["genant_grade"]:
            words["deformity"] = loss[1]
        body = vertebra.body
        yield Item(
            "vertebra",
            vertebra.name,
            values,
            reasons,
            words,
            plates={} if body is None else {SIDES[s]: plate_of(body, s) for s in body.plates},
            centre_lps_mm=vector(vertebra.centroid_lps_mm),
            body_lps_mm=None if body is None else vector(body.frame.centre_lps_mm),
            axes_lps=None if body is None else tuple(map(vector, body.frame.axes_lps)),
        )


def _numbers(
    vertebra: Vertebra, ct: Volume | None, stance: Stance
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return the measurements of one vertebra; without its neighbours, and missing ones as None."""
    values, reasons = numbers(vertebra, ct)
    if vertebra.name in stance.doubles:
        values["volume_ml"], reasons["volume_ml"] = None, _DOUBLE
    if not stance.as_header and values["rotation_deg"] is not None:
        values["rotation_deg"], reasons["rotation_deg"] = None, NO_SIDE
    return values, reasons


def _are_neighbours(upper: str, lower: str, stance: Stance) -> bool:
    return adjacent(upper, lower) and stance.neighbours(upper, lower)


def _disc_items(vertebrae: Sequence[Vertebra], stance: Stance) -> Iterable[Item]:
    for upper, lower in pairwise(vertebrae):
        if not adjacent(upper.name, lower.name):
            continue
        if stance.neighbours(upper.name, lower.name):
            values, reasons = disc_numbers(upper, lower)
        else:
            values, reasons = missing_disc(upper.name, lower.name)
        unknown = dict.fromkeys(DIRECTED, stance.doubtful) if stance.doubtful else {}
        if not stance.as_header:
            unknown.setdefault("lateral_slip_mm", NO_SIDE)
        for key, reason in unknown.items():
            if values[key] is not None:
                values[key], reasons[key] = None, reason
        yield Item("disc", f"{upper.name}-{lower.name}", values, reasons)


def _notes(labels: Volume) -> Iterable[str]:
    yield "Suggestions for review, not for clinical use."
    largest = max(labels.spacing_mm)
    if largest > _COARSE_MM:
        yield (
            f"Voxels measure up to {largest:.1f} mm: the position of an endplate nearly parallel "
            "to them is accurate to about half a voxel only."
        )
