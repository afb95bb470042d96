"""Actions that rename vertebrae; voxels and segment IDs do not change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slicer.i18n import tr as _

from spinemamba.anatomy import numbering_rules
from SpineMambaSegmentLib.Review.SegmentState import VARIANT_TAG
from SpineMambaSegmentLib.Review.Spine import Edit, Spine

SACRALISED, LUMBARISED = _("sacralised L5"), _("lumbarised S1")
_VARIANTS = {SACRALISED: "L5", LUMBARISED: "L6"}
"""Transitional vertebrae and their levels: a lumbarised S1 counts as L6."""

_SHIFTS = {
    (1, ""): _("Shift all down by one"),
    (-1, ""): _("Shift all up by one"),
    (1, "tail"): _("Shift all from here caudally down by one"),
    (-1, "tail"): _("Shift all from here caudally up by one"),
    (1, "head"): _("Shift all from here cranially down by one"),
    (-1, "head"): _("Shift all from here cranially up by one"),
}
"""Titles by the number of levels and the direction from the first vertebra."""


@dataclass(frozen=True)
class ShiftLevels:
    """Shift levels by one.

    Attributes:
        by: 1 if L1 becomes L2, -1 if L1 becomes T12.
        start: Segment ID of the first vertebra to shift; None shifts all.
        towards: Direction from ``start``: "tail" or "head".
    """

    by: int
    start: str | None = None
    towards: str = "tail"

    @property
    def title(self) -> str:
        """Title of the step."""
        return _SHIFTS[self.by, "" if self.start is None else self.towards]

    def edit(self, spine: Spine) -> Edit:
        """Return the new names."""
        indices = range(len(spine.states))
        if self.start is not None:
            here = spine.indexOf(self.start)
            indices = indices[here:] if self.towards == "tail" else indices[: here + 1]
        return _renamed(spine, numbering_rules.shift(spine.chain, self.by, indices))


@dataclass(frozen=True)
class SetLevel:
    """Set the level of one vertebra and keep all others."""

    segmentId: str
    level: str

    @property
    def title(self) -> str:
        """Title of the step."""
        return _("Set level {level}").format(level=self.level)

    def edit(self, spine: Spine) -> Edit:
        """Return the new name."""
        chain = numbering_rules.set_level(spine.chain, spine.indexOf(self.segmentId), self.level)
        return _renamed(spine, chain)


@dataclass(frozen=True)
class SwapLevels:
    """Swap the levels of two vertebrae."""

    one: str
    other: str

    title = _("Swap two levels")

    def edit(self, spine: Spine) -> Edit:
        """Return the new names."""
        indices = spine.indexOf(self.one), spine.indexOf(self.other)
        return _renamed(spine, numbering_rules.swap(spine.chain, *indices))


@dataclass(frozen=True)
class InsertLevel:
    """Insert a level that most spines do not have; the neighbours are renamed.

    Attributes:
        segmentId: The vertebra.
        level: "T13", "L6", or "T11" for the last level with ribs in a spine whose T12 has none.
    """

    segmentId: str
    level: str

    @property
    def title(self) -> str:
        """Title of the step."""
        if self.level == "T11":
            return _("T11 is the last level with ribs")
        return _("Insert {level}").format(level=self.level)

    def edit(self, spine: Spine) -> Edit:
        """Return the new names."""
        rule = {
            "T13": numbering_rules.insert_t13,
            "L6": numbering_rules.insert_l6,
            "T11": numbering_rules.last_ribs_t11,
        }[self.level]
        return _renamed(spine, rule(spine.chain, spine.indexOf(self.segmentId)))


@dataclass(frozen=True)
class MarkVariant:
    """Mark a transitional vertebra; an empty variant removes the mark."""

    segmentId: str
    variant: str

    @property
    def title(self) -> str:
        """Title of the step."""
        if not self.variant:
            return _("Remove a mark")
        return _("Mark {variant}").format(variant=self.variant)

    def edit(self, spine: Spine) -> Edit:
        """Return the mark, and the new names."""
        index = spine.indexOf(self.segmentId)
        chain = spine.chain
        level = _VARIANTS.get(self.variant)
        if level is not None and chain[index] != level:
            inserts = level == "L6" and chain[index] in ("L5", "Sacrum")
            rule = numbering_rules.insert_l6 if inserts else None
            chain = rule(chain, index) if rule else numbering_rules.set_level(chain, index, level)
        names = _renamed(spine, chain).levels
        return Edit(levels=names, tags={self.segmentId: {VARIANT_TAG: self.variant}})


def _renamed(spine: Spine, chain: Sequence[str | None]) -> Edit:
    """Return the edit that changes the levels of a spine to those of a chain."""
    pairs = zip(spine.states.items(), chain, strict=True)
    return Edit(levels={i: new for (i, old), new in pairs if new is not None and new != old.level})
