"""Input and output of review actions: `Spine` and `Edit`. Nothing here changes the scene."""

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
"""Attribute of the segmentation node: levels fixed by the user, by segment ID, as JSON."""

ATTRIBUTES = (Provenance.RESULT_ATTRIBUTE, PINS_ATTRIBUTE)
"""Attributes of the segmentation node that undo restores."""


@dataclass(frozen=True)
class Spine:
    """Snapshot of the vertebrae of a segmentation.

    Attributes:
        states: States by segment ID, from head to tail.
        grid: Voxel grid of the masks in the segmentation's own RAS (before parent transforms).
        attributes: Those of `ATTRIBUTES`, by name.
        volumeNode: The image; None if unknown.
        otherIds: IDs of the segments that are not under review.
    """

    states: Mapping[str, SegmentState]
    grid: Grid
    attributes: Mapping[str, str]
    volumeNode: slicer.vtkMRMLScalarVolumeNode | None = None
    otherIds: frozenset[str] = frozenset()

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
        """Volume of a voxel in mL."""
        return abs(float(np.linalg.det(self.grid.ijkToRas[:3, :3]))) / 1000

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along k, j, i, in mm."""
        i, j, k = np.linalg.norm(self.grid.ijkToRas[:3, :3], axis=0)
        return float(k), float(j), float(i)

    def indexOf(self, segmentId: str) -> int:
        """Return the index of a segment from head to tail.

        Raises:
            UserError: If there is no segment with that ID.
        """
        if segmentId not in self.states:
            raise UserError(
                _("The vertebra no longer exists."), _("Choose a vertebra in the table.")
            )
        return self.ids.index(segmentId)

    def centerRas(self, segmentId: str) -> np.ndarray:
        """Return the centroid of a segment in the segmentation's own RAS, in mm."""
        return self.toRas(self.states[segmentId].mask.mean())

    def toRas(self, kji: np.ndarray | tuple[float, float, float]) -> np.ndarray:
        """Return the RAS coordinates of voxel indices k, j, i, shape (..., 3)."""
        matrix = self.grid.ijkToRas
        return np.asarray(kji, float)[..., ::-1] @ matrix[:3, :3].T + matrix[:3, 3]

    def toKji(self, ras: np.ndarray | tuple[float, float, float]) -> np.ndarray:
        """Return the fractional voxel indices k, j, i of RAS coordinates, shape (..., 3)."""
        matrix = np.linalg.inv(self.grid.ijkToRas)
        return (np.asarray(ras, float) @ matrix[:3, :3].T + matrix[:3, 3])[..., ::-1]

    def newId(self, level: str) -> str:
        """Return an unused segment ID for a new vertebra of a level."""
        stem = idStem(level)
        taken = {*self.states, *self.otherIds}
        names = [stem, *(f"{stem}_{n}" for n in range(1, len(taken) + 2))]
        return next(name for name in names if name not in taken)

    def approved(self) -> list[str]:
        """Return the IDs of the approved vertebrae."""
        return [i for i, state in self.states.items() if state.status == APPROVED]

    def freeLevel(self, index: int) -> str:
        """Return the unused level that fits best for a new vertebra at an index of the chain."""
        return free_level(self.chain, index)


@dataclass(frozen=True)
class Edit:
    """Changes requested by an action; `ReviewSession.apply` makes and records them.

    Attributes:
        levels: New levels by segment ID; name, terminology and colour follow.
        masks: New masks by segment ID. An unknown ID creates a segment and needs an entry in
            ``levels``. Approved vertebrae keep their voxels; other vertebrae lose the voxels
            that they share with a new mask.
        removed: IDs of segments to remove.
        tags: New values of tags in `SegmentState.TAGS`, by segment ID; "" removes a tag.
        attributes: New values of `ATTRIBUTES` of the segmentation node.
    """

    levels: Mapping[str, str] = field(default_factory=dict)
    masks: Mapping[str, Mask] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)


class Action(Protocol):
    """A change of the vertebrae that is applied, undone and logged as one step."""

    @property
    def title(self) -> str:
        """Title for the log and for the tooltips of undo and redo, such as "Split L2"."""

    def edit(self, spine: Spine) -> Edit:
        """Return the requested changes, without applying them.

        Raises:
            UserError: If the action is not possible.
        """


def sortedByHeight(spine: Spine) -> Spine:
    """Return the spine with its vertebrae in order from head to tail."""
    heights = {i: spine.centerRas(i)[2] for i in spine.states}
    # Empty segments have no centroid and come last.
    order = sorted(spine.states, key=lambda i: (np.isnan(heights[i]), -heights[i]))
    return replace(spine, states={i: spine.states[i] for i in order})
