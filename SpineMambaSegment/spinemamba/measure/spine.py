"""Measure a labelled spine: the whole way from labels to numbers."""

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
from spinemamba.measure.body_guess import patches_of, start_frames
from spinemamba.measure.discs import DIRECTED, apart, disc_numbers, is_apart
from spinemamba.measure.frame import Frame, Patch
from spinemamba.measure.heights import genant_grade, height_loss
from spinemamba.measure.landmarks import landmarks
from spinemamba.measure.stance import NO_SIDE, Stance, stance_of
from spinemamba.measure.vertebra import SIDES, Vertebra, body_of, numbers, plate_of, vector
from spinemamba.protocol.measurements import Item, Measurements

COARSE_MM = 2.0
"""With voxels larger than this in any direction, numbers are less sure than they look."""

DOUBLE = "its label holds two bodies"

Progress = Callable[[str, float], None]


def measure(
    labels: Volume,
    image: Volume | None = None,
    modality: str = "",
    progress: Progress = lambda name, fraction: None,
    known_cuts: Mapping[str, tuple[str, ...]] | None = None,
) -> Measurements:
    """Measure every vertebra, what lies between them, and the spine as a whole.

    As `measure_standing`, which see.
    """
    return measure_standing(labels, image, modality, progress, known_cuts)[0]


def measure_standing(
    labels: Volume,
    image: Volume | None,
    modality: str,
    progress: Progress,
    known_cuts: Mapping[str, tuple[str, ...]] | None = None,
) -> tuple[Measurements, Stance]:
    """Measure a spine, and say how it stands in its header.

    Args:
        labels: Label values, in any orientation.
        image: What was segmented, on the same voxels in any order; gives densities if it is a CT.
        modality: "ct", "mr" or, without an image, "".
        progress: Told the level that comes next and the share that is done; may raise `Cancelled`.
        known_cuts: Sides at which the run that made the labels found each level cut. Without an
            image, labels alone do not show where data end within the array.

    Raises:
        UserError: If there is no known level in the labels (NO_SPINE), or the image has another
            grid.
    """
    digest = hashlib.sha256(np.ascontiguousarray(labels.array, np.uint8)).hexdigest()
    upright = canonical(labels)[0]
    shown = None if image is None else _on_grid_of(upright, image)
    if shown is not None:
        box = data_box(shown.array)
        upright, shown = crop_volume(upright, box), crop_volume(shown, box)
    sides = _sides(upright, shown, known_cuts or {})
    stance = stance_of(landmarks(upright, {value for value, cut in sides.items() if cut}))
    sides = {value: stance.sides(cut) for value, cut in sides.items()}
    ct = canonical(stance.stand(shown))[0] if shown is not None and modality == "ct" else None
    standing = canonical(stance.stand(upright))[0]
    found = list(find_vertebrae(standing, sides, stance, progress))
    found.sort(key=lambda vertebra: ORDER[vertebra.name])
    progress("discs and curves", 1.0)
    discs = list(_disc_items(found, stance))
    stance = stance.with_breaks([item.name for item in discs if is_apart(item.reasons)])
    items = [*_vertebra_items(found, ct, stance), *discs]
    items += [*angle_items(found, stance), *curve_items(found, stance)]
    measured = Measurements(
        package_version=__version__,
        labels_sha256=digest,
        spacing_mm=labels.spacing_mm,
        modality=modality,
        items=tuple(map(stance.back, items)),
        notes=tuple(_notes(labels)),
        alerts=stance.notes,
    )
    return measured, stance


def _on_grid_of(labels: Volume, image: Volume) -> Volume:
    """Return an image on exactly the grid of its labels.

    Args:
        labels: In canonical orientation.
        image: On the same voxels, in any order of its axes.

    Returns:
        The image in canonical orientation.

    Raises:
        UserError: If the grids differ; says in what.
    """
    upright = canonical(image)[0]
    if difference := upright.geometry.difference(labels.geometry):
        raise UserError(
            f"Image and labels do not have the same voxels: {difference}.",
            "Give the image that was segmented.",
        )
    return upright.on(labels.geometry)


def _sides(
    labels: Volume, image: Volume | None, known: Mapping[str, tuple[str, ...]]
) -> dict[int, tuple[str, ...]]:
    """Return the sides at which the data end in each vertebra, by label value."""
    grid = labels.geometry
    view = FieldOfView.of_grid(grid) if image is None else FieldOfView.of_image(image)
    found = {}
    for value, patch in patches_of(labels).items():
        voxels = np.argwhere(labels.array[patch.box] == value) + [s.start for s in patch.box]
        sides = {*cut_sides(voxels, grid, view), *known.get(BY_VALUE[value].name, ())}
        found[value] = tuple(s for names in IMAGE_SIDES for s in names if s in sides)
    return found


def find_vertebrae(
    labels: Volume, sides: Mapping[int, tuple[str, ...]], stance: Stance, progress: Progress
) -> Iterable[Vertebra]:
    """Yield the vertebrae as they lie in space, from head to tail.

    Args:
        labels: In canonical orientation, standing.
        sides: Sides of the image that cut each, by label value, where the spine stands.
        stance: How the spine stands.
        progress: As for `measure`.
    """
    named = patches_of(labels, sides)
    if not named:
        raise UserError(
            "There is no vertebra in the labels.",
            "Choose a label image whose numbers are those of the label table.",
            Code.NO_SPINE,
        )
    order = stance.along([BY_VALUE[value].name for value in named])
    patches = {value: named[value] for value in (BY_NAME[name].value for name in order)}
    voxels = {
        value: np.argwhere(labels.array[patch.box] == value) + [s.start for s in patch.box]
        for value, patch in patches.items()
    }
    unsure = {v for v, cut in sides.items() if cut or BY_VALUE[v].name not in stance.order}
    frames = start_frames(patches, unsure)
    above: Body | None = None
    for k, (value, patch) in enumerate(patches.items()):
        name, start = BY_VALUE[value].name, frames[value]
        progress(name, k / len(patches))
        if name == "Sacrum" and above is not None:
            start = below(above, patch, start)
        if name in stance.doubles:
            body, reason = None, DOUBLE
        else:
            body, reason = body_of(patch, start, name, sides[value])
        centroid = labels.geometry.to_lps_mm(voxels[value].mean(axis=0))
        volume_ml = len(voxels[value]) * labels.geometry.voxel_ml
        yield Vertebra(value, name, patch, centroid, volume_ml, sides[value], body, reason)
        above = body


def below(above: Body, patch: Patch, frame: Frame) -> Frame:
    """Return a frame within the first piece of the sacrum, where the last body stands on it."""
    if -1 not in above.plates:
        return frame
    floor = above.plates[-1].centre_lps_mm
    gap = patch.entries_mm(floor[None] + 1e-6, -above.frame.up, 40.0)[0]
    if np.isnan(gap):
        return frame
    return Frame(floor - (gap + 8.0) * above.frame.up, above.frame.axes_lps)


def _vertebra_items(found: Sequence[Vertebra], ct: Volume | None, stance: Stance) -> Iterable[Item]:
    measured = [_numbers(vertebra, ct, stance) for vertebra in found]
    for k, vertebra in enumerate(found):
        values, reasons = measured[k]
        beside = [
            measured[j][0]
            for j in (k - 1, k + 1)
            if 0 <= j < len(found)
            and _beside(*sorted((found[j].name, vertebra.name), key=ORDER.get), stance)
        ]
        loss = height_loss(values, beside)
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
    """Return what one vertebra shows by itself, as far as its label and its stance allow it."""
    values, reasons = numbers(vertebra, ct)
    if vertebra.name in stance.doubles:
        values["volume_ml"], reasons["volume_ml"] = None, DOUBLE
    if not stance.as_header and values["rotation_deg"] is not None:
        values["rotation_deg"], reasons["rotation_deg"] = None, NO_SIDE
    return values, reasons


def _beside(upper: str, lower: str, stance: Stance) -> bool:
    return adjacent(upper, lower) and stance.neighbours(upper, lower)


def _disc_items(found: Sequence[Vertebra], stance: Stance) -> Iterable[Item]:
    for upper, lower in pairwise(found):
        if not adjacent(upper.name, lower.name):
            continue
        if stance.neighbours(upper.name, lower.name):
            values, reasons = disc_numbers(upper, lower)
        else:
            values, reasons = apart(upper.name, lower.name)
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
    if largest > COARSE_MM:
        yield (
            f"Voxels reach {largest:.1f} mm: an endplate nearly parallel to them is known to about "
            "half a voxel only."
        )
