"""Orientation of a labelled spine in the header's coordinates, and order of its levels in space.

Measurements refer to the patient's planes. If the orientation in the header contradicts the spine,
its axes are rotated by multiples of 90 degrees until the head is up and the processes are
posterior. Voxels are not changed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import cdist

from spinemamba.anatomy.labels import ORDER
from spinemamba.findings.level_flags import LIMITS, back_to_front, upside_down
from spinemamba.imaging.volume import Volume
from spinemamba.measure.frame import unit
from spinemamba.measure.landmarks import Landmark, has_two_bodies
from spinemamba.protocol.measurements import Item, Plate, Vector

_LEAST_GAIN = 0.4
"""Smallest gain in the sum of the cosines of head and back for rotating the axes: a bent neck and a
tilted trunk are not rotated."""

_LEAST_BACK_MM = 2.0
"""Smallest offset of the centroid from the body; without processes, it does not show the back."""

_LEAST_ORDER = 0.5
"""Smallest correlation of levels and positions along the spine that determines the cranial end."""

_LEAST_PART = 0.5
"""Smallest volume of a truncated vertebra with a reliable position, as share of the largest one."""

_LEAST_SHARE = 0.1
"""Labels smaller than this share of the median volume are specks and have no position."""

_MOST_TILT_DEG, _MOST_TURN_DEG = 20.0, 15.0
"""Largest lateral tilt and axial rotation without a note. Beyond, angles in the patient's planes
differ from those in the spine's own planes: by a degree or two at a tilt of 20 degrees."""

_MOST_REST_DEG = 5.0
"""The same after rotating the axes, because the patient's planes are then unknown."""

_PLACED = {
    (0, 1): "to the left of",
    (0, -1): "to the right of",
    (1, 1): "behind",
    (1, -1): "in front of",
    (2, 1): "above",
    (2, -1): "below",
}
_POINTS = {(0, 1): "to the left", (0, -1): "to the right", (1, -1): "to the front"}
_POINTS |= {(1, 1): "to the back", (2, 1): "up", (2, -1): "down"}


_OWN_PLANES = "It is measured in its own planes; left and right are unknown."
_SIDES = {(0, 1): "left", (0, -1): "right", (1, 1): "posterior", (1, -1): "anterior"}
_SIDES |= {(2, 1): "superior", (2, -1): "inferior"}
_DIRECTIONS = {name: sign * np.eye(3)[axis] for (axis, sign), name in _SIDES.items()}

_OBLIQUE = (
    "The spine {} to the side by {:.0f} degrees: angles and curves refer to the header's planes."
)
_BREAK = "{} and {} are not neighbours in space: a vertebra is unlabelled or misnamed."
NO_SIDE = "left and right are unknown: the orientation in the header contradicts the spine"


@dataclass(frozen=True)
class Stance:
    """Orientation and order of a spine.

    Attributes:
        turn: Rows are the left, posterior and superior axis of the patient according to the spine,
            in the header's LPS, (3, 3); the identity if both agree.
        order: Levels in their order in space, from the head, without specks.
        doubles: Levels whose label contains two bodies.
        doubtful: Why angles and slips are missing; empty if they are not.
        notes: Notes for the reader, as sentences.
        breaks: Pairs of consecutive levels that are not neighbours in space.
    """

    turn: np.ndarray
    order: tuple[str, ...]
    doubles: frozenset[str]
    doubtful: str
    notes: tuple[str, ...]
    breaks: tuple[tuple[str, str], ...] = ()

    @property
    def as_header(self) -> bool:
        """Whether the spine agrees with the orientation in the header."""
        return bool(np.array_equal(self.turn, np.eye(3)))

    def neighbours(self, upper: str, lower: str) -> bool:
        """Return whether a level is directly below another one in space; True if unknown."""
        if (upper, lower) in self.breaks:
            return False
        if upper not in self.order or lower not in self.order:
            return True
        return self.order.index(lower) == self.order.index(upper) + 1

    def along(self, names: Sequence[str]) -> list[str]:
        """Return levels in their order in space; those without a position come last."""
        if list(self.order) == sorted(self.order, key=ORDER.__getitem__):
            return sorted(names, key=ORDER.__getitem__)
        places = {name: place for place, name in enumerate(self.order)}
        return sorted(names, key=lambda name: (places.get(name, len(places)), ORDER[name]))

    def with_breaks(self, discs: Sequence[str]) -> Stance:
        """Return the stance with breaks at discs, named like "L4-L5", of implausible size."""
        breaks = tuple(tuple(name.split("-")) for name in discs)
        notes = () if self.doubtful else tuple(_BREAK.format(*pair) for pair in breaks)
        return replace(self, breaks=breaks, notes=(*self.notes, *notes))

    def why_no_angle(self, upper: str, lower: str) -> str:
        """Return why the angle between two levels is missing; empty if it is not."""
        for first, second in self.breaks:
            if ORDER[upper] <= ORDER[first] and ORDER[second] <= ORDER[lower]:
                return self.doubtful or f"{first} and {second} are not neighbours in space"
        return self.doubtful

    def stand(self, volume: Volume) -> Volume:
        """Return a volume with a rotated header, in which the spine is upright; same voxels."""
        if self.as_header:
            return volume
        place = volume.geometry
        origin = tuple(map(float, self.turn @ np.asarray(place.origin_lps_mm)))
        direction = self.turn @ np.asarray(place.direction_lps)
        return replace(
            volume, geometry=replace(place, origin_lps_mm=origin, direction_lps=direction)
        )

    def sides(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return names of sides in the header's frame converted to the frame of `stand`."""
        return tuple(_SIDES[_axis(self.turn @ _DIRECTIONS[name])] for name in names)

    def points(self, points_lps_mm: Iterable[Vector]) -> tuple[Vector, ...]:
        """Return points in the header's frame converted to the frame of `stand`."""
        return tuple(
            tuple(float(v) for v in self.turn @ np.asarray(point)) for point in points_lps_mm
        )

    def back(self, item: Item) -> Item:
        """Return an item in the frame of `stand` converted to the header's frame."""
        return _rotate_item(item, self.turn.T)

    def upright(self, item: Item) -> Item:
        """Return an item in the header's frame converted to the frame of `stand`."""
        return _rotate_item(item, self.turn)


def _rotate_item(item: Item, rotation: np.ndarray) -> Item:
    """Return an item with all points and directions rotated about the origin."""

    def rotate(vector: Vector) -> Vector:
        return tuple(float(v) for v in rotation @ np.asarray(vector))

    def optional(vector: Vector | None) -> Vector | None:
        return None if vector is None else rotate(vector)

    return replace(
        item,
        plates={
            side: Plate(*(rotate(getattr(plate, name)) for name in Plate.__dataclass_fields__))
            for side, plate in item.plates.items()
        },
        centre_lps_mm=optional(item.centre_lps_mm),
        body_lps_mm=optional(item.body_lps_mm),
        axes_lps=None if item.axes_lps is None else tuple(map(rotate, item.axes_lps)),
    )


def stance_of(marks: Sequence[Landmark]) -> Stance:
    """Return orientation and order of a spine.

    Args:
        marks: Landmarks of its levels, from top to bottom.
    """
    marks = _sizeable(marks)
    up = _up(_in_order(marks))
    doubles = frozenset(mark.name for mark in marks if has_two_bodies(mark, up))
    marks = _in_order([mark for mark in marks if mark.name not in doubles])
    up = _up(marks)
    turn = _turn(up, _back(marks, up))
    order = tuple(mark.name for mark in marks)
    doubtful, *notes = _disorder(order)
    notes += [
        f"The label of {name} contains two bodies." for name in sorted(doubles, key=ORDER.get)
    ]
    if not np.array_equal(turn, np.eye(3)):
        notes.append(_posture(marks, turn))
        # With few vertebrae, reversed names look the same as a reversed header.
        if turn[2, 2] != 1 and 1 < len(order) < LIMITS.least_for_order and not doubtful:
            doubtful = f"{_lies(order, turn)}: either the header or the names are wrong"
            notes.append(f"{doubtful}.")
    most = (
        (_MOST_TILT_DEG, _MOST_TURN_DEG) if turn[1, 1] + turn[2, 2] == 2 else (_MOST_REST_DEG,) * 2
    )
    notes += _oblique(turn @ up, turn @ _back(marks, up), most)
    return Stance(turn, order, doubles, doubtful, tuple(notes))


def _sizeable(marks: Sequence[Landmark]) -> list[Landmark]:
    """Return the landmarks without the coccyx and without specks."""
    marks = [mark for mark in marks if mark.name != "Coccyx"]
    least = _LEAST_SHARE * float(np.median([mark.volume_ml for mark in marks])) if marks else 0.0
    return [mark for mark in marks if mark.volume_ml >= least]


def _in_order(marks: Sequence[Landmark]) -> list[Landmark]:
    """Return landmarks in their order in space, from the head."""
    return [marks[k] for k in _along(np.array([mark.deep_lps_mm for mark in marks]))]


def _disorder(order: Sequence[str]) -> list[str]:
    """Return why levels in this order in space are wrong, and a note; [""] if they are right."""
    for above, below in itertools.pairwise(order):
        if ORDER[above] > ORDER[below]:
            why = f"{above} lies above {below}: the levels are not in order"
            return [why, f"{why}. Check their names."]
    return [""]


def _along(places: np.ndarray) -> list[int]:
    """Return the order of points along the spine, from the head.

    The minimum spanning tree of points along a curve is the curve itself, however bent it is. The
    cranial end is determined by the levels, or, if they are inconclusive, by the height.

    Args:
        places: Points in the order of their levels, (n, 3).
    """
    count = len(places)
    if count < 2:
        return list(range(count))
    tree = minimum_spanning_tree(cdist(places, places)).toarray() > 0
    tree |= tree.T
    ends = np.flatnonzero(tree.sum(axis=0) == 1)
    if len(ends) == 2:
        row = [int(ends[0])]
        while len(row) < count:
            row += [int(k) for k in np.flatnonzero(tree[row[-1]]) if k not in row]
    else:  # a tree with branches: order along the first principal axis
        _, _, axes = np.linalg.svd(places - places.mean(axis=0))
        row = [int(k) for k in np.argsort(places @ axes[0])]
    agreement = np.corrcoef(row, np.arange(count))[0, 1]
    if abs(agreement) < _LEAST_ORDER:
        agreement = places[row[0], 2] - places[row[-1], 2]
    return row if agreement > 0 else row[::-1]


def _up(marks: Sequence[Landmark]) -> np.ndarray:
    """Return the cranial direction of ordered vertebrae; superior if there are too few."""
    complete = [mark for mark in marks if not mark.cut]
    if len(complete) < 2:
        # The position of a truncated vertebra is reliable only if most of it is visible.
        least = _LEAST_PART * max((mark.volume_ml for mark in marks), default=0.0)
        complete = [mark for mark in marks if mark.volume_ml >= least]
    if len(complete) < 2:
        return np.array([0.0, 0.0, 1.0])
    steps = np.arange(len(complete)) - (len(complete) - 1) / 2
    return unit(-steps @ np.array([mark.deep_lps_mm for mark in complete]))


def _back(marks: Sequence[Landmark], up: np.ndarray) -> np.ndarray:
    """Return the posterior direction, orthogonal to ``up``; zeros if it is unknown."""
    offsets = [m.back_mm for m in marks if not m.cut] or [np.zeros(3)]
    offset = np.mean(offsets, axis=0)
    offset = offset - (offset @ up) * up
    return unit(offset) if np.linalg.norm(offset) >= _LEAST_BACK_MM else np.zeros(3)


def _turn(up: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Return the right-handed signed axes that agree best with the spine; see `Stance.turn`."""
    best, most = np.eye(3), up[2] + back[1] + _LEAST_GAIN
    if not back.any():
        # Prefer the smallest rotation if the spine does not show the back.
        back = 0.1 * np.array([0.0, 1.0, 0.0])
    for axes in itertools.permutations(np.eye(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            turn = np.array(axes) * np.array(signs)[:, None]
            score = up @ turn[2] + back @ turn[1]
            if np.linalg.det(turn) > 0 and score > most:
                best, most = turn, score
    return best


def _posture(marks: Sequence[Landmark], turn: np.ndarray) -> str:
    """Return sentences about the orientation of a spine, given from the head."""
    heights = sorted(marks, key=lambda mark: -mark.deep_lps_mm[2])
    flags = [
        upside_down([ORDER[mark.name] for mark in heights]),
        back_to_front([mark.back_mm[1] for mark in marks if not mark.cut]),
    ]
    messages = [flag.sentence for flag in flags if flag is not None]
    what = _lies([mark.name for mark in marks], turn)
    message = f"The orientation in the header contradicts the spine: {what}."
    return " ".join([*messages, message, _OWN_PLANES])


def _lies(order: Sequence[str], turn: np.ndarray) -> str:
    if turn[2, 2] == 1:
        return f"the processes point {_POINTS[_axis(turn[1])]}"
    return f"{order[-1]} lies {_PLACED[_axis(-turn[2])]} {order[0]}"


def _axis(direction: np.ndarray) -> tuple[int, int]:
    """Return the index and the sign of a direction along an axis."""
    axis = int(np.argmax(np.abs(direction)))
    return axis, int(np.sign(direction[axis]))


def _oblique(up: np.ndarray, back: np.ndarray, most_deg: tuple[float, float]) -> list[str]:
    """Return notes about an oblique spine.

    Args:
        up: Cranial direction in the frame of `Stance.stand`.
        back: Posterior direction there; zeros if unknown.
        most_deg: Largest lateral tilt and axial rotation without a note.
    """
    tilt = float(np.degrees(np.arctan2(abs(up[0]), abs(up[2]))))
    rotation = float(np.degrees(np.arctan2(abs(back[0]), back[1]))) if back.any() else 0.0
    sides = zip(("leans", "looks"), (tilt, rotation), most_deg, strict=True)
    return [_OBLIQUE.format(verb, deg) for verb, deg, most in sides if deg > most]
