"""What an action sees, and what it asks for. No Qt, and nothing here changes the scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import slicer
from slicer.i18n import tr as _

from spinemamba.anatomy.numbering_rules import free_level
from spinemamba.common.errors import UserError
from SpineMambaSegmentLib.Review.Mask import Mask
from SpineMambaSegmentLib.Review.SegmentState import APPROVED, SegmentState, idStem
from SpineMambaSegmentLib.Scene import Provenance
from SpineMambaSegmentLib.Scene.Grid import Grid

PINS_ATTRIBUTE = "SpineMamba.Pins"
"""Attribute of the segmentation node: levels that a person is sure of, by segment ID, as JSON."""

ATTRIBUTES = (Provenance.RESULT_ATTRIBUTE, PINS_ATTRIBUTE)
"""What undo knows of the node."""


@dataclass(frozen=True)
class Spine:
    """The vertebrae of a segmentation at one moment.

    Attributes:
        states: From head to tail, by segment ID.
        grid: Lattice of the masks in the segmentation's own RAS.
        attributes: Attributes of the segmentation that review may change.
        volumeNode: The image; None if it is not known.
    """

    states: Mapping[str, SegmentState]
    grid: Grid
    attributes: Mapping[str, str]
    volumeNode: slicer.vtkMRMLScalarVolumeNode | None = None

    @property
    def ids(self) -> list[str]:
        """IDs from head to tail."""
        return list(self.states)

    @property
    def chain(self) -> tuple[str | None, ...]:
        """Levels from head to tail."""
        return tuple(state.level for state in self.states.values())

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return abs(float(np.linalg.det(self.grid.ijkToRas[:3, :3]))) / 1000

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Size of a voxel along k, j, i."""
        i, j, k = np.linalg.norm(self.grid.ijkToRas[:3, :3], axis=0)
        return float(k), float(j), float(i)

    def place(self, segmentId: str) -> int:
        """Return where a segment stands from head to tail.

        Raises:
            UserError: If there is none of that ID.
        """
        if segmentId not in self.states:
            raise UserError(
                _("The vertebra is not there any more."), _("Choose a vertebra in the table.")
            )
        return self.ids.index(segmentId)

    def centerRas(self, segmentId: str) -> np.ndarray:
        """Return the mean place of a segment's voxels in the segmentation's own RAS."""
        return self.toRas(self.states[segmentId].mask.mean())

    def toRas(self, kji: np.ndarray | tuple[float, float, float]) -> np.ndarray:
        """Return the RAS of voxel numbers k, j, i, of shape (..., 3)."""
        matrix = self.grid.ijkToRas
        return np.asarray(kji, float)[..., ::-1] @ matrix[:3, :3].T + matrix[:3, 3]

    def toKji(self, ras: np.ndarray | tuple[float, float, float]) -> np.ndarray:
        """Return the voxel numbers k, j, i of places in RAS, of shape (..., 3)."""
        matrix = np.linalg.inv(self.grid.ijkToRas)
        return (np.asarray(ras, float) @ matrix[:3, :3].T + matrix[:3, 3])[..., ::-1]

    def newId(self, level: str) -> str:
        """Return an ID that no segment has, for a new vertebra of some level."""
        stem = idStem(level)
        names = [stem, *(f"{stem}_{n}" for n in range(1, len(self.states) + 2))]
        return next(name for name in names if name not in self.states)

    def approved(self) -> list[str]:
        """Return the IDs of the vertebrae that are approved."""
        return [i for i, state in self.states.items() if state.status == APPROVED]

    def freeLevel(self, place: int) -> str:
        """Return a level for a new vertebra at a place in the chain: a free one that fits best."""
        return free_level(self.chain, place)


@dataclass(frozen=True)
class Edit:
    """What an action asks for; `ReviewSession.apply` does it, records it and can take it back.

    Attributes:
        levels: New level of some segments; name, terminology and colour follow.
        masks: All voxels of some segments after the action. An ID that is not there becomes a
            new segment, and needs an entry in ``levels``. Voxels of approved vertebrae are never
            taken; other vertebrae lose what is taken from them.
        removed: Segments to take away.
        tags: Tags of some segments, of those that `ReviewState.TAGS` names; "" takes one away.
        attributes: Attributes of the segmentation node, of those that `ATTRIBUTES` names.
    """

    levels: Mapping[str, str] = field(default_factory=dict)
    masks: Mapping[str, Mask] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)


class Action(Protocol):
    """Something that a person does to the vertebrae as one step."""

    @property
    def title(self) -> str:
        """What it is, for the log and for the tooltips of undo and redo: "Split L2"."""

    def edit(self, spine: Spine) -> Edit:
        """Return what shall change; changes nothing itself.

        Raises:
            UserError: If it cannot be done.
        """


def sortedByHeight(spine: Spine) -> Spine:
    """Return the spine with its vertebrae in order from head to tail."""
    heights = {i: spine.centerRas(i)[2] for i in spine.states}
    # An empty segment has no place: it goes to the end.
    order = sorted(spine.states, key=lambda i: (np.isnan(heights[i]), -heights[i]))
    return replace(spine, states={i: spine.states[i] for i in order})
