"""Plan a labelled spine: every pedicle with its axis, sizes and suggested corridor."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from spinemamba import __version__
from spinemamba.imaging.volume import Volume
from spinemamba.measure.spine import StandingSpine, standing_spine
from spinemamba.measure.stance import NO_SIDE
from spinemamba.measure.vertebra import Vertebra
from spinemamba.parts.bone_field import BoneField
from spinemamba.parts.pedicle_search import shown_pedicle
from spinemamba.parts.sections import Tube
from spinemamba.planning.breach import Bone, angles_deg, vector
from spinemamba.planning.canal import find_canal
from spinemamba.planning.corridor import suggest
from spinemamba.planning.cortex import NOT_SHOWN, inner_mm
from spinemamba.protocol.planning.plan import SIDES, Pedicle, Plan
from spinemamba.protocol.planning.screws import USUAL, ScrewTable

_SIGNS = {"left": 1.0, "right": -1.0}
_WITHOUT = {
    "C1": "C1 has no pedicles: its screws go through the lateral masses",
    "C2": "C2 is not planned: its pedicle and pars need the course of the vertebral artery",
}
_NO_PEDICLE = ("Sacrum", "Coccyx")
_NO_CT = "no CT in Hounsfield units was given"
_CERVICAL = (
    "Cervical pedicles lie beside the vertebral artery, which is not segmented: see it in the "
    "image first."
)
_COARSE_MM = 2.0


@dataclass(frozen=True)
class PlannedVertebra:
    """A vertebra ready for tests of screws.

    Attributes:
        vertebra: As measured.
        bone: Field, body and canal; None if the body was not found.
        tubes: Pedicles by side.
        pedicles: What the plan says, left and right.
    """

    vertebra: Vertebra
    bone: Bone | None
    tubes: dict[str, Tube]
    pedicles: tuple[Pedicle, ...]


@dataclass(frozen=True)
class PlannedSpine:
    """A plan, and what it was made from.

    Attributes:
        plan: Content of plan.json.
        spine: The labelled spine, standing.
        vertebrae: The vertebrae.
    """

    plan: Plan
    spine: StandingSpine
    vertebrae: tuple[PlannedVertebra, ...]

    @property
    def bones(self) -> dict[str, Bone]:
        """What screws are tested against, by level."""
        return {v.vertebra.name: v.bone for v in self.vertebrae if v.bone is not None}

    @property
    def turn(self) -> np.ndarray:
        """Rotation from the header's LPS to the standing spine, (3, 3)."""
        return self.spine.stance.turn


def plan_spine(
    labels: Volume,
    image: Volume | None = None,
    modality: str = "",
    levels: Collection[str] | None = None,
    *,
    table: ScrewTable = USUAL,
    progress: Callable[[str, float], None] = lambda name, share: None,
) -> PlannedSpine:
    """Plan the pedicles of a labelled spine.

    Args:
        labels: Label image with VerSe's values.
        image: Image on the same grid, or None.
        modality: "ct" if the image has Hounsfield units.
        levels: Levels to plan; None for all.
        table: Screws and rules.
        progress: Called with a level and the completed share; may raise `Cancelled`.

    Raises:
        UserError: As `measure.spine.standing_spine`.
    """
    digest = hashlib.sha256(np.ascontiguousarray(labels.array, np.uint8)).hexdigest()
    spine = standing_spine(labels, image, modality, lambda name, share: progress(name, share / 2))
    chosen = [
        v
        for v in spine.vertebrae
        if v.name not in _NO_PEDICLE and (levels is None or v.name in levels)
    ]
    made = []
    for k, vertebra in enumerate(chosen):
        progress(vertebra.name, 0.5 + k / len(chosen) / 2)
        made.append(plan_vertebra(spine, vertebra, table))
    turn = spine.stance.turn
    pedicles = tuple(turned(pedicle, turn.T) for one in made for pedicle in one.pedicles)
    plan = Plan(
        package_version=__version__,
        labels_sha256=digest,
        spacing_mm=labels.spacing_mm,
        modality="ct" if spine.ct is not None else "",
        pedicles=pedicles,
        notes=tuple(_notes(labels, chosen)),
        alerts=(*spine.stance.notes, *([] if spine.stance.as_header else [f"{NO_SIDE}."])),
        screw_table=table,
    )
    return PlannedSpine(plan, spine, tuple(made))


def plan_vertebra(spine: StandingSpine, vertebra: Vertebra, table: ScrewTable) -> PlannedVertebra:
    """Plan both pedicles of a vertebra, in the coordinates of the standing spine."""
    reason = _WITHOUT.get(vertebra.name, "")
    if vertebra.body is None:
        reason = reason or vertebra.reason
    if reason:
        reasons = {"width_mm": reason, "suggestion": reason}
        empty = tuple(Pedicle(vertebra.name, side, reasons=reasons) for side in SIDES)
        return PlannedVertebra(vertebra, None, {}, empty)
    bone = bone_of(spine.labels, vertebra)
    tubes, pedicles = {}, []
    for side in SIDES:
        try:
            tube = shown_pedicle(bone.field, vertebra, _SIGNS[side])
        except ValueError as error:
            reasons = {"width_mm": str(error), "suggestion": str(error)}
            pedicles.append(Pedicle(vertebra.name, side, reasons=reasons))
            continue
        tubes[side] = tube
        pedicles.append(_described((vertebra.name, side), bone, tube, spine.ct, table))
    return PlannedVertebra(vertebra, bone, tubes, tuple(pedicles))


def bone_of(labels: Volume, vertebra: Vertebra) -> Bone:
    """Return what screws in a vertebra are tested against."""
    field = BoneField.of(labels, vertebra.value, vertebra.body.frame)
    try:
        canal = find_canal(field, vertebra.body)
    except ValueError:
        canal = None
    return Bone(field, vertebra.body.extent.half_depth_mm, canal)


def turned(pedicle: Pedicle, rotation: np.ndarray) -> Pedicle:
    """Return a pedicle with all points rotated about the origin."""

    def points(item: object) -> dict[str, object]:
        names = [n for n in vars(item) if n.endswith("_lps_mm") and getattr(item, n) is not None]
        return {n: vector(rotation @ np.asarray(getattr(item, n))) for n in names}

    suggestion = pedicle.suggestion
    return replace(
        pedicle,
        **points(pedicle),
        suggestion=None if suggestion is None else replace(suggestion, **points(suggestion)),
        screws=tuple(replace(screw, **points(screw)) for screw in pedicle.screws),
    )


def _described(
    name: tuple[str, str], bone: Bone, tube: Tube, ct: Volume | None, table: ScrewTable
) -> Pedicle:
    """Return the entry of a pedicle, given by level and side, in the plan."""
    level, side = name
    reasons: dict[str, str] = {}
    to_lps = bone.field.frame.to_lps
    ends: list[tuple[float, float, float] | None] = [None, None]
    length = None
    try:
        entry, front = bone.chord(tube.line)
        ends = [vector(to_lps(tube.line.at(place))) for place in (entry, front)]
        length = front - entry
    except ValueError as error:
        reasons["length_mm"] = f"the axis: {error}"
    inner: list[float | None] = [None, None]
    if ct is not None:
        inner = [inner_mm(ct, bone.field, tube, axis) for axis in (0, 1)]
    for key, value in zip(("inner_width_mm", "inner_height_mm"), inner, strict=True):
        if value is None:
            reasons[key] = _NO_CT if ct is None else NOT_SHOWN
    transverse, sagittal = angles_deg(tube.line.forward, _SIGNS[side])
    suggestion, why = suggest(bone, tube, _SIGNS[side], level, table)
    if why:
        reasons["suggestion"] = why
    return Pedicle(
        level,
        side,
        entry_lps_mm=ends[0],
        isthmus_lps_mm=vector(to_lps(tube.line.point_mm)),
        anterior_lps_mm=ends[1],
        width_mm=tube.width_mm,
        height_mm=tube.height_mm,
        inner_width_mm=inner[0],
        inner_height_mm=inner[1],
        length_mm=length,
        transverse_deg=transverse,
        sagittal_deg=sagittal,
        suggestion=suggestion,
        reasons=reasons,
    )


def _notes(labels: Volume, chosen: Sequence[Vertebra]) -> list[str]:
    notes = []
    if any(vertebra.name[0] == "C" for vertebra in chosen):
        notes.append(_CERVICAL)
    if max(labels.spacing_mm) > _COARSE_MM:
        notes.append(
            f"Voxels measure up to {max(labels.spacing_mm):.1f} mm: margins are accurate to about "
            "half a voxel."
        )
    return notes
