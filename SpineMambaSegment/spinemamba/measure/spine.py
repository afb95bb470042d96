"""Measure a labelled spine: all steps from labels to measurements."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from spinemamba import __version__
from spinemamba.anatomy.labels import BY_NAME, BY_VALUE, ORDER
from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.truncation import SIDES as IMAGE_SIDES
from spinemamba.imaging.truncation import FieldOfView, crop_volume, cut_sides, data_box
from spinemamba.imaging.volume import Volume
from spinemamba.measure.angles import spine_curves
from spinemamba.measure.body import Body
from spinemamba.measure.body_guess import initial_frames, patches_of
from spinemamba.measure.discs import not_neighbours
from spinemamba.measure.frame import Frame, Patch
from spinemamba.measure.given import NOTHING, Given
from spinemamba.measure.items import DOUBLE, Case, all_items, disc_items
from spinemamba.measure.landmarks import landmarks
from spinemamba.measure.perturbation import perturbed
from spinemamba.measure.sagittal_stack import is_sagittal_stack, without_unseen
from spinemamba.measure.stance import Stance, stance_of
from spinemamba.measure.uncertainty import with_uncertainties
from spinemamba.measure.vertebra import Vertebra, body_of
from spinemamba.protocol.measurements import NOTICE, Item, Measurements

_COARSE_MM = 2.0
"""With voxels larger than this in any direction, a note warns of limited accuracy."""

_IN_SLICES = (
    "MR with thick sagittal slices: heights, discs, the depth of the canal, slips and sagittal "
    "angles are measured; what extends from left to right is not, nor are coronal curves."
)

Progress = Callable[[str, float], None]


def measure(
    labels: Volume,
    image: Volume | None = None,
    modality: str = "",
    progress: Progress = lambda name, fraction: None,
    known_cuts: Mapping[str, tuple[str, ...]] | None = None,
    *,
    given: Given = NOTHING,
) -> Measurements:
    """Measure every vertebra, the discs between them, and angles and curves of the spine.

    Arguments and errors are those of `measure_with_stance`.
    """
    return measure_with_stance(labels, image, modality, progress, known_cuts, given=given)[0]


def measure_with_stance(
    labels: Volume,
    image: Volume | None,
    modality: str,
    progress: Progress,
    known_cuts: Mapping[str, tuple[str, ...]] | None = None,
    *,
    given: Given = NOTHING,
) -> tuple[Measurements, Stance]:
    """Measure a spine, and return its position in the header's coordinates, too.

    Args:
        labels: Label image with VerSe's values, in any orientation.
        image: Segmented image on the same grid, in any orientation; a CT gives densities.
        modality: "ct", "mr", or "" without an image.
        progress: Called with the next level and the completed share; may raise `Cancelled`.
        known_cuts: Sides at which each level is truncated, according to the run that made the
            labels. Without the image, padding within the array cannot be detected.
        given: What the user knows besides: calibration of densities, centres of the hips.

    Raises:
        UserError: If the labels contain no known level (NO_SPINE), or the image has another grid.
    """
    digest = hashlib.sha256(np.ascontiguousarray(labels.array, np.uint8)).hexdigest()
    spine = standing_spine(labels, image, modality, progress, known_cuts)
    vertebrae, stance = list(spine.vertebrae), spine.stance
    progress("discs and curves", 1.0)
    discs = disc_items(vertebrae, stance)
    stance = stance.with_breaks([item.name for item in discs if not_neighbours(item.reasons)])
    given = replace(given, hips_lps_mm=stance.points(given.hips_lps_mm))
    curves, open_ends = spine_curves(vertebrae, stance)
    case = Case(spine.ct, stance, given, curves)
    items = _with_uncertainties(vertebrae, case)
    notes = [*_notes(labels), *open_ends]
    if is_sagittal_stack(spine.labels.spacing_mm, modality):
        items = without_unseen(items, spine.labels.spacing_mm[2])
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


@dataclass(frozen=True)
class StandingSpine:
    """A labelled spine, rotated by multiples of 90 degrees so that it is upright.

    Attributes:
        labels: Label image in canonical orientation.
        ct: CT on the same grid; None without one.
        vertebrae: Vertebrae in the order of their levels.
        stance: Position of the spine in the header's coordinates.
    """

    labels: Volume
    ct: Volume | None
    vertebrae: tuple[Vertebra, ...]
    stance: Stance


def standing_spine(
    labels: Volume,
    image: Volume | None,
    modality: str,
    progress: Progress,
    known_cuts: Mapping[str, tuple[str, ...]] | None = None,
) -> StandingSpine:
    """Find the vertebrae and their bodies. Arguments and errors as in `measure_with_stance`."""
    upright = canonical(labels)[0]
    on_grid = None if image is None else _on_grid_of(upright, image)
    if on_grid is not None:
        box = data_box(on_grid.array)
        upright, on_grid = crop_volume(upright, box), crop_volume(on_grid, box)
    vertebrae, stance = find_vertebrae(upright, on_grid, known_cuts or {}, progress)
    ct = canonical(stance.stand(on_grid))[0] if on_grid is not None and modality == "ct" else None
    return StandingSpine(canonical(stance.stand(upright))[0], ct, tuple(vertebrae), stance)


def find_vertebrae(
    labels: Volume,
    image: Volume | None,
    known_cuts: Mapping[str, tuple[str, ...]],
    progress: Progress,
) -> tuple[list[Vertebra], Stance]:
    """Return the vertebrae with their bodies, from top to bottom, and the position of the spine.

    Args:
        labels: Label image in canonical orientation. The vertebrae are in the coordinates of
            `Stance.stand` of these labels.
        image: The segmented image on the same grid, or None.
        known_cuts: As for `measure_with_stance`.
        progress: Called with the next level and the completed share; may raise `Cancelled`.

    Raises:
        UserError: If the labels contain no known level (NO_SPINE).
    """
    sides = _sides(labels, image, known_cuts)
    stance = stance_of(landmarks(labels, {value for value, cut in sides.items() if cut}))
    sides = {value: stance.sides(cut) for value, cut in sides.items()}
    standing = canonical(stance.stand(labels))[0]
    vertebrae = list(_find_vertebrae(standing, sides, stance, progress))
    vertebrae.sort(key=lambda vertebra: ORDER[vertebra.name])
    return vertebrae, stance


def _with_uncertainties(vertebrae: list[Vertebra], case: Case) -> list[Item]:
    """Return all items, with uncertainties from perturbed copies of the vertebrae."""
    if not case.given.draws:
        return all_items(vertebrae, case)
    draws = zip(*(perturbed(vertebra, case.given.draws) for vertebra in vertebrae), strict=True)
    line = case.given.calibration
    cut = {vertebra.name for vertebra in vertebrae if vertebra.cut_sides}
    return with_uncertainties(
        all_items(vertebrae, case),
        [all_items(list(draw), case) for draw in draws],
        cut | case.given.flagged,
        {} if line is None else {"trabecular_mg_ml": line.uncertainty_mg_ml},
    )


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
            body, reason = None, DOUBLE
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


def _notes(labels: Volume) -> Iterable[str]:
    yield NOTICE
    largest = max(labels.spacing_mm)
    if largest > _COARSE_MM:
        yield (
            f"Voxels measure up to {largest:.1f} mm: the position of an endplate nearly parallel "
            "to them is accurate to about half a voxel only."
        )
