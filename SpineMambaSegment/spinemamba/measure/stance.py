"""Which way a labelled spine stands in its header, and whether its levels follow each other.

Numbers are measured in planes of the patient. Where the header has another idea of the patient
than the spine, its axes are turned by quarter turns until the head is up and the processes are
behind; voxels stay as they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import cdist

from spinemamba.anatomy.labels import ORDER
from spinemamba.findings.level_flags import LIMITS
from spinemamba.findings.orientation_flags import back_to_front, upside_down
from spinemamba.imaging.volume import Volume
from spinemamba.measure.frame import unit
from spinemamba.measure.landmarks import Landmark, doubled
from spinemamba.protocol.measurements import Item, Plate, Vector

LEAST_GAIN = 0.4
"""The axes are turned only if head and back, as cosines, then agree so much better in sum: a bent
neck and a tilted trunk stand as they are."""

LEAST_BACK_MM = 2.0
"""Bodies alone, without processes, do not say where the back is."""

LEAST_ORDER = 0.5
"""Correlation of the levels with their places along the spine that tells which end is the head."""

LEAST_PART = 0.5
"""Of the volume of the largest: so much of a cut vertebra has its place in the row."""

LEAST_SHARE = 0.1
"""A label smaller than this share of the others' median is a speck without a place."""

MOST_TILT_DEG, MOST_TURN_DEG = 20.0, 15.0
"""A spine that leans more than this to the side, or looks so far to one, shows other angles in the
patient's planes than in its own: a degree or two at 20 degrees of lean."""

MOST_REST_DEG = 5.0
"""The same of a spine whose axes were turned: nothing is known of the patient's planes."""

PLACED = {
    (0, 1): "to the left of",
    (0, -1): "to the right of",
    (1, 1): "behind",
    (1, -1): "in front of",
    (2, 1): "above",
    (2, -1): "below",
}
POINTS = {(0, 1): "to the left", (0, -1): "to the right", (1, -1): "to the front"}
POINTS |= {(1, 1): "to the back", (2, 1): "up", (2, -1): "down"}


OWN_PLANES = "It is measured in its own planes, and its left and right are not known."
SIDES = {(0, 1): "left", (0, -1): "right", (1, 1): "posterior", (1, -1): "anterior"}
SIDES |= {(2, 1): "superior", (2, -1): "inferior"}
DIRECTIONS = {name: sign * np.eye(3)[axis] for (axis, sign), name in SIDES.items()}

OBLIQUE = (
    "The spine {} to the side by {:.0f} degrees: angles and curves are those that show in the "
    "header's planes."
)
BREAK = "{} and {} are not neighbours in space: a vertebra is without a label, or misnamed."
NO_SIDE = "left and right are not known: the spine does not stand as the header says"


@dataclass(frozen=True)
class Stance:
    """How a spine stands.

    Attributes:
        turn: Rows are the directions left, posterior and up of the patient that the spine
            shows, in the header's LPS, (3, 3); the identity where both agree.
        order: Levels along the spine in space, from the head; without specks.
        doubles: Levels whose label holds two bodies.
        doubtful: Why angles and slips are not given; empty if they are.
        notes: What the reader must know, as sentences.
        breaks: Levels that follow each other by name but do not lie next to each other.
    """

    turn: np.ndarray
    order: tuple[str, ...]
    doubles: frozenset[str]
    doubtful: str
    notes: tuple[str, ...]
    breaks: tuple[tuple[str, str], ...] = ()

    @property
    def as_header(self) -> bool:
        """Whether the spine stands as the header says."""
        return bool(np.array_equal(self.turn, np.eye(3)))

    def neighbours(self, upper: str, lower: str) -> bool:
        """Return whether a level lies directly below another one in space, if that is known."""
        if (upper, lower) in self.breaks:
            return False
        if upper not in self.order or lower not in self.order:
            return True
        return self.order.index(lower) == self.order.index(upper) + 1

    def along(self, names: Sequence[str]) -> list[str]:
        """Return levels in their order in space; those without a place at the end."""
        if list(self.order) == sorted(self.order, key=ORDER.__getitem__):
            return sorted(names, key=ORDER.__getitem__)
        places = {name: place for place, name in enumerate(self.order)}
        return sorted(names, key=lambda name: (places.get(name, len(places)), ORDER[name]))

    def with_breaks(self, discs: Sequence[str]) -> Stance:
        """Return the stance where discs, named like "L4-L5", are no discs by their size."""
        breaks = tuple(tuple(name.split("-")) for name in discs)
        notes = () if self.doubtful else tuple(BREAK.format(*pair) for pair in breaks)
        return replace(self, breaks=breaks, notes=(*self.notes, *notes))

    def why_no_angle(self, upper: str, lower: str) -> str:
        """Return why no angle can be given from one level to another; empty if it can."""
        for first, second in self.breaks:
            if ORDER[upper] <= ORDER[first] and ORDER[second] <= ORDER[lower]:
                return self.doubtful or f"{first} and {second} are not neighbours in space"
        return self.doubtful

    def stand(self, volume: Volume) -> Volume:
        """Return a volume with a header in which the spine stands; same voxels."""
        if self.as_header:
            return volume
        place = volume.geometry
        origin = tuple(map(float, self.turn @ np.asarray(place.origin_lps_mm)))
        direction = self.turn @ np.asarray(place.direction_lps)
        return replace(
            volume, geometry=replace(place, origin_lps_mm=origin, direction_lps=direction)
        )

    def sides(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the sides of the image, named as in the header, as they lie where it stands."""
        return tuple(SIDES[_axis(self.turn @ DIRECTIONS[name])] for name in names)

    def back(self, item: Item) -> Item:
        """Return an item that was measured on `stand`'s grid, where it lies in the header."""
        return turned(item, self.turn.T)

    def upright(self, item: Item) -> Item:
        """Return an item in the header's place as it lies on `stand`'s grid."""
        return turned(item, self.turn)


def turned(item: Item, turn: np.ndarray) -> Item:
    """Return an item whose places and directions are turned about the origin."""

    def moved(place: Vector) -> Vector:
        return tuple(float(v) for v in turn @ np.asarray(place))

    def optional(place: Vector | None) -> Vector | None:
        return None if place is None else moved(place)

    return replace(
        item,
        plates={
            side: Plate(*(moved(getattr(plate, name)) for name in Plate.__dataclass_fields__))
            for side, plate in item.plates.items()
        },
        centre_lps_mm=optional(item.centre_lps_mm),
        body_lps_mm=optional(item.body_lps_mm),
        axes_lps=None if item.axes_lps is None else tuple(map(moved, item.axes_lps)),
    )


def stance_of(marks: Sequence[Landmark]) -> Stance:
    """Return how a spine stands.

    Args:
        marks: Of its levels, from head to tail.
    """
    marks = _sizeable(marks)
    up = _up(_in_order(marks))
    doubles = frozenset(mark.name for mark in marks if doubled(mark, up))
    marks = _in_order([mark for mark in marks if mark.name not in doubles])
    up = _up(marks)
    turn = _turn(up, _back(marks, up))
    order = tuple(mark.name for mark in marks)
    doubtful, *notes = _disorder(order)
    notes += [f"The label of {name} holds two bodies." for name in sorted(doubles, key=ORDER.get)]
    if not np.array_equal(turn, np.eye(3)):
        notes.append(_posture(marks, turn))
        # So few vertebrae look the same if it is their names that are the wrong way round.
        if turn[2, 2] != 1 and 1 < len(order) < LIMITS.least_for_order and not doubtful:
            doubtful = f"{_lies(order, turn)}: either the header or the names are wrong"
            notes.append(f"{doubtful}.")
    most = (MOST_TILT_DEG, MOST_TURN_DEG) if turn[1, 1] + turn[2, 2] == 2 else (MOST_REST_DEG,) * 2
    notes += _oblique(turn @ up, turn @ _back(marks, up), most)
    return Stance(turn, order, doubles, doubtful, tuple(notes))


def _sizeable(marks: Sequence[Landmark]) -> list[Landmark]:
    """Return the landmarks that have a place in the row of the vertebrae."""
    row = [mark for mark in marks if mark.name != "Coccyx"]
    least = LEAST_SHARE * float(np.median([mark.volume_ml for mark in row])) if row else 0.0
    return [mark for mark in row if mark.volume_ml >= least]


def _in_order(marks: Sequence[Landmark]) -> list[Landmark]:
    """Return landmarks in their order along the spine in space, from the head."""
    return [marks[k] for k in _along(np.array([mark.deep_lps_mm for mark in marks]))]


def _disorder(order: Sequence[str]) -> list[str]:
    """Return why levels that lie so along the spine are not in order, and a note; or ""."""
    for above, below in itertools.pairwise(order):
        if ORDER[above] > ORDER[below]:
            why = f"{above} lies above {below}: the levels are not in order"
            return [why, f"{why}. Check their names."]
    return [""]


def _along(places: np.ndarray) -> list[int]:
    """Return the order of places along the spine, from the head.

    The shortest tree through bodies in a row is the row itself, however bent it is. The head is
    where the levels say so, and where they do not, above.

    Args:
        places: From head to tail by their levels, (n, 3).
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
    else:  # a tree with branches: along the longest extent
        _, _, axes = np.linalg.svd(places - places.mean(axis=0))
        row = [int(k) for k in np.argsort(places @ axes[0])]
    agree = np.corrcoef(row, np.arange(count))[0, 1]
    if abs(agree) < LEAST_ORDER:
        agree = places[row[0], 2] - places[row[-1], 2]
    return row if agree > 0 else row[::-1]


def _up(marks: Sequence[Landmark]) -> np.ndarray:
    """Return the direction of the head, from vertebrae in order; up if there are too few."""
    whole = [mark for mark in marks if not mark.cut]
    if len(whole) < 2:
        # What is left of a cut vertebra lies anywhere, but most of one lies where it does.
        least = LEAST_PART * max((mark.volume_ml for mark in marks), default=0.0)
        whole = [mark for mark in marks if mark.volume_ml >= least]
    if len(whole) < 2:
        return np.array([0.0, 0.0, 1.0])
    steps = np.arange(len(whole)) - (len(whole) - 1) / 2
    return unit(-steps @ np.array([mark.deep_lps_mm for mark in whole]))


def _back(marks: Sequence[Landmark], up: np.ndarray) -> np.ndarray:
    """Return the direction of the back, at right angles to ``up``; zeros if it is not known."""
    ways = [m.back_mm for m in marks if not m.cut] or [np.zeros(3)]
    way = np.mean(ways, axis=0)
    way = way - (way @ up) * up
    return unit(way) if np.linalg.norm(way) >= LEAST_BACK_MM else np.zeros(3)


def _turn(up: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Return the signed axes, right-handed, that agree best with the spine; see `Stance.turn`."""
    best, most = np.eye(3), up[2] + back[1] + LEAST_GAIN
    if not back.any():
        # The least turn: what is known of the back is that it was not said to be elsewhere.
        back = 0.1 * np.array([0.0, 1.0, 0.0])
    for axes in itertools.permutations(np.eye(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            turn = np.array(axes) * np.array(signs)[:, None]
            score = up @ turn[2] + back @ turn[1]
            if np.linalg.det(turn) > 0 and score > most:
                best, most = turn, score
    return best


def _posture(marks: Sequence[Landmark], turn: np.ndarray) -> str:
    """Return how a spine, from the head, lies in its header, as sentences."""
    heights = sorted(marks, key=lambda mark: -mark.deep_lps_mm[2])
    flags = [
        upside_down([ORDER[mark.name] for mark in heights]),
        back_to_front([mark.back_mm[1] for mark in marks if not mark.cut]),
    ]
    asked = [flag.sentence for flag in flags if flag is not None]
    what = _lies([mark.name for mark in marks], turn)
    said = f"The spine does not stand as the header says: {what}."
    return " ".join([*asked, said, OWN_PLANES])


def _lies(order: Sequence[str], turn: np.ndarray) -> str:
    if turn[2, 2] == 1:
        return f"the processes point {POINTS[_axis(turn[1])]}"
    return f"{order[-1]} lies {PLACED[_axis(-turn[2])]} {order[0]}"


def _axis(direction: np.ndarray) -> tuple[int, int]:
    """Return the index and the sign of a direction along an axis."""
    axis = int(np.argmax(np.abs(direction)))
    return axis, int(np.sign(direction[axis]))


def _oblique(up: np.ndarray, back: np.ndarray, most_deg: tuple[float, float]) -> list[str]:
    """Return notes about a spine that stands aslant.

    Args:
        up: Direction of the head where the spine stands.
        back: Direction of the back there; zeros if it is not known.
        most_deg: How far it may lean and look to the side.
    """
    leans = float(np.degrees(np.arctan2(abs(up[0]), abs(up[2]))))
    looks = float(np.degrees(np.arctan2(abs(back[0]), back[1]))) if back.any() else 0.0
    sides = zip(("leans", "looks"), (leans, looks), most_deg, strict=True)
    return [OBLIQUE.format(verb, deg) for verb, deg, most in sides if deg > most]
