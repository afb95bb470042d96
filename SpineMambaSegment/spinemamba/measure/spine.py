"""Measure a labelled spine: the whole way from labels to numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from spinemamba import __version__
from spinemamba.errors import Code, UserError
from spinemamba.labels import BY_VALUE, ORDER
from spinemamba.measure.body import Body
from spinemamba.measure.discs import disc_numbers
from spinemamba.measure.frame import Frame, Patch
from spinemamba.measure.heights import genant_grade, height_loss
from spinemamba.measure.plates import SIDES, plate_of, vector
from spinemamba.measure.record import Item, Measurements
from spinemamba.measure.regions import adjacent, angle_items, curve_items
from spinemamba.measure.start import patches_of, start_frames
from spinemamba.measure.vertebra import Vertebra, body_of, numbers
from spinemamba.orientation import canonical
from spinemamba.truncation import SIDES as IMAGE_SIDES
from spinemamba.truncation import FieldOfView, cut_sides, data_box, part_of
from spinemamba.volume import Volume

COARSE_MM = 2.0
"""With voxels larger than this in any direction, numbers are less sure than they look."""

Progress = Callable[[str, float], None]


def measure(
    labels: Volume,
    image: Volume | None = None,
    modality: str = "",
    progress: Progress = lambda name, fraction: None,
    known_cuts: Mapping[str, tuple[str, ...]] | None = None,
) -> Measurements:
    """Measure every vertebra, what lies between them, and the spine as a whole.

    Args:
        labels: Label values, in any orientation.
        image: What was segmented, on the same grid; gives densities if it is a CT.
        modality: "ct", "mr" or, without an image, "".
        progress: Told the level that comes next and the share that is done; may raise `Cancelled`.
        known_cuts: Sides at which the run that made the labels found each level cut. Without an
            image, labels alone do not show where data end within the array.

    Raises:
        UserError: If there is no known level in the labels (NO_SPINE), or the image has another
            grid.
    """
    digest = hashlib.sha256(np.ascontiguousarray(labels.array, np.uint8)).hexdigest()
    if image is not None and not image.geometry.matches(labels.geometry):
        raise UserError(
            "Image and labels do not have the same voxels.",
            "Give the image that was segmented.",
        )
    upright, shown = canonical(labels)[0], None if image is None else canonical(image)[0]
    if shown is not None:
        box = data_box(shown.array)
        upright, shown = part_of(upright, box), part_of(shown, box)
    ct = shown if modality == "ct" else None
    sides = _sides(upright, shown, known_cuts or {})
    found = list(find_vertebrae(upright, sides, progress))
    progress("discs and curves", 1.0)
    items = [*_vertebra_items(found, ct), *_disc_items(found)]
    items += [*angle_items(found), *curve_items(found)]
    return Measurements(
        __version__, digest, labels.spacing_mm, modality, tuple(items), tuple(_notes(labels))
    )


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
    labels: Volume, sides: Mapping[int, tuple[str, ...]], progress: Progress
) -> Iterable[Vertebra]:
    """Yield the vertebrae from head to tail.

    Args:
        labels: In canonical orientation.
        sides: Sides of the image that cut each, by label value.
        progress: As for `measure`.
    """
    patches = patches_of(labels, sides)
    if not patches:
        raise UserError(
            "There is no vertebra in the labels.",
            "Choose a label image whose numbers are those of the label table.",
            Code.NO_SPINE,
        )
    voxels = {
        value: np.argwhere(labels.array[patch.box] == value) + [s.start for s in patch.box]
        for value, patch in patches.items()
    }
    frames = start_frames(patches, {value for value, found in sides.items() if found})
    above: Body | None = None
    for k, (value, patch) in enumerate(patches.items()):
        name, start = BY_VALUE[value].name, frames[value]
        progress(name, k / len(patches))
        if name == "Sacrum" and above is not None:
            start = below(above, patch, start)
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


def _vertebra_items(found: Sequence[Vertebra], ct: Volume | None) -> Iterable[Item]:
    measured = [numbers(vertebra, ct) for vertebra in found]
    for k, vertebra in enumerate(found):
        values, reasons = measured[k]
        beside = [
            measured[j][0]
            for j in (k - 1, k + 1)
            if 0 <= j < len(found)
            and adjacent(*sorted((found[j].name, vertebra.name), key=ORDER.get))
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


def _disc_items(found: Sequence[Vertebra]) -> Iterable[Item]:
    for upper, lower in pairwise(found):
        if adjacent(upper.name, lower.name):
            values, reasons = disc_numbers(upper, lower)
            yield Item("disc", f"{upper.name}-{lower.name}", values, reasons)


def _notes(labels: Volume) -> Iterable[str]:
    yield "Suggestions for review, not for clinical use."
    largest = max(labels.spacing_mm)
    if largest > COARSE_MM:
        yield (
            f"Voxels reach {largest:.1f} mm: an endplate nearly parallel to them is known to about "
            "half a voxel only."
        )
