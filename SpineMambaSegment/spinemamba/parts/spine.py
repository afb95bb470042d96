"""Divide a labelled spine into parts: vertebrae, discs and canal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from spinemamba.anatomy.parts import CANAL, DISC, LEVEL_FACTOR, PARTS, part_info, part_value
from spinemamba.anatomy.terminology import SegmentInfo
from spinemamba.imaging.orientation import canonical, reorient_back
from spinemamba.imaging.volume import Volume
from spinemamba.measure.angles import adjacent
from spinemamba.measure.discs import disc_numbers, missing_disc, not_neighbours
from spinemamba.measure.spine import Progress, find_vertebrae
from spinemamba.measure.stance import Stance
from spinemamba.measure.vertebra import Vertebra
from spinemamba.parts.canal import canal_voxels
from spinemamba.parts.discs import disc_voxels
from spinemamba.parts.landmarks import Landmarks
from spinemamba.parts.vertebra import divide_vertebra
from spinemamba.parts.vertebra_parts import VertebraParts

_TOP_DISC = "C2"
"""The highest vertebra with a disc below it."""


@dataclass(frozen=True)
class SpineParts:
    """A spine divided into parts.

    Attributes:
        labels: Values of `anatomy.parts.part_value`, uint16, on the grid of the given labels.
        vertebrae: From top to bottom, in the coordinates of ``stance``.
        lower: Level below the disc of each level that has one.
        missing: Reasons for missing discs, by their name such as "L4-L5".
        stance: How the patient lies in the file's coordinates.
    """

    labels: Volume
    vertebrae: tuple[VertebraParts, ...]
    lower: Mapping[str, str]
    missing: Mapping[str, str]
    stance: Stance

    def segments(self, tags: Mapping[str, str] | None = None) -> list[SegmentInfo]:
        """Return the segments with voxels: vertebrae from top to bottom, discs, canal."""
        levels = [done.vertebra.name for done in self.vertebrae]
        values = [part_value(level, part) for level in levels for part in PARTS]
        values += [part_value(level, DISC) for level in levels]
        present = np.zeros(max(values) + 1, bool)
        # Slice by slice: NumPy copies indices as 64-bit integers.
        for part in self.labels.array:
            present[part] = True
        return [
            part_info(value, self._lower(value), tags)
            for value in (*values, CANAL.value)
            if present[value]
        ]

    def _lower(self, value: int) -> str:
        names = {part_value(upper, DISC): lower for upper, lower in self.lower.items()}
        return names.get(value, "")


def divide_spine(
    labels: Volume,
    known_cuts: Mapping[str, tuple[str, ...]] | None = None,
    progress: Progress = lambda name, fraction: None,
) -> SpineParts:
    """Divide every vertebra into parts, and find the discs and the canal between them.

    Args:
        labels: Label image with VerSe's values, in any orientation.
        known_cuts: Sides at which each level is truncated, according to the run that made the
            labels.
        progress: Called with the next level and the completed share; may raise `Cancelled`.

    Raises:
        UserError: If the labels contain no known level (NO_SPINE).
    """
    upright, turned = canonical(labels)
    vertebrae, stance = find_vertebrae(
        upright, None, known_cuts or {}, lambda name, share: progress(name, share / 2)
    )
    standing, stood = canonical(stance.stand(upright))
    out = np.zeros(standing.array.shape, np.uint16)
    done: list[tuple[VertebraParts, Landmarks | None]] = []
    for k, vertebra in enumerate(vertebrae):
        progress(vertebra.name, 0.5 + 0.4 * k / len(vertebrae))
        parts, marks = divide_vertebra(standing, vertebra)
        done.append((parts, marks))
        _add(out, parts)
    progress("discs and canal", 0.9)
    lower, missing = _add_discs(out, standing, vertebrae, stance)
    _add_canal(out, standing, done, stance)
    on_upright = reorient_back(out, stood).array
    back = labels.with_array(reorient_back(on_upright, turned).array)
    return SpineParts(back, tuple(parts for parts, _ in done), lower, missing, stance)


def _add(out: np.ndarray, done: VertebraParts) -> None:
    """Write the parts of a vertebra, in place."""
    parts = done.parts.array
    view = out[done.box]
    inside = parts > 0
    view[inside] = done.vertebra.value * LEVEL_FACTOR + parts[inside].astype(np.uint16)


def _add_discs(
    out: np.ndarray, labels: Volume, vertebrae: Sequence[Vertebra], stance: Stance
) -> tuple[dict[str, str], dict[str, str]]:
    """Write the discs, in place.

    Returns:
        The lower level of each disc, and the reasons for missing ones, by name.
    """
    found: dict[str, str] = {}
    missing: dict[str, str] = {}
    for upper, lower in pairwise(vertebrae):
        name = f"{upper.name}-{lower.name}"
        if upper.name == "C1" or not adjacent(upper.name, lower.name):
            continue
        reason = _why_no_disc(upper, lower, stance)
        voxels = None if reason else disc_voxels(labels, upper, lower)
        if voxels is None:
            missing[name] = reason or "the endplates meet"
            continue
        box, inside = voxels
        view = out[box]
        view[inside & (view == 0)] = part_value(upper.name, DISC)
        found[upper.name] = lower.name
    return found, missing


def _why_no_disc(upper: Vertebra, lower: Vertebra, stance: Stance) -> str:
    """Return why there is no disc between two levels; empty if there is one."""
    if stance.neighbours(upper.name, lower.name):
        values, reasons = disc_numbers(upper, lower)
    else:
        values, reasons = missing_disc(upper.name, lower.name)
    if not_neighbours(reasons) or values["disc_angle_deg"] is None:
        return next(iter(reasons.values()))
    return ""


def _add_canal(
    out: np.ndarray,
    labels: Volume,
    done: Sequence[tuple[VertebraParts, Landmarks | None]],
    stance: Stance,
) -> None:
    """Write the canal along each row of neighbours whose arches are known, in place."""
    row: list[tuple[Vertebra, Landmarks]] = []
    for parts, marks in (*done, (None, None)):
        vertebra = None if parts is None else parts.vertebra
        follows = bool(row) and vertebra is not None and marks is not None
        if follows:
            above = row[-1][0].name
            follows = adjacent(above, vertebra.name) and stance.neighbours(above, vertebra.name)
        if row and not follows:
            for box, inside in canal_voxels(labels, row):
                view = out[box]
                view[inside & (view == 0)] = CANAL.value
            row = []
        if marks is not None and vertebra is not None:
            row.append((vertebra, marks))
