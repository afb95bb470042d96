"""Actions that give vertebrae other names; no voxel and no segment ID changes. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slicer.i18n import tr as _

from spinemamba.anatomy import numbering_rules
from SpineMambaSegmentLib.Review.SegmentState import VARIANT_TAG
from SpineMambaSegmentLib.Review.Spine import Edit, Spine

SACRALISED, LUMBARISED = _("sacralised L5"), _("lumbarised S1")
VARIANTS = {SACRALISED: "L5", LUMBARISED: "L6"}
"""Variants, and the level that such a vertebra has: a lumbarised S1 counts as L6."""

WAYS = {1: "down", -1: "up"}


@dataclass(frozen=True)
class ShiftLevels:
    """Move names by one level.

    Attributes:
        by: 1: L1 becomes L2; -1: L1 becomes T12.
        start: From this vertebra; None for all.
        towards: Where from ``start``: "tail" or "head".
    """

    by: int
    start: str | None = None
    towards: str = "tail"

    @property
    def title(self) -> str:
        """What it is."""
        part = (
            "all"
            if self.start is None
            else _("part towards the {towards}").format(towards=self.towards)
        )
        return _("Shift {part} {value} by one").format(part=part, value=WAYS[self.by])

    def edit(self, spine: Spine) -> Edit:
        """Return the new names."""
        places = range(len(spine.states))
        if self.start is not None:
            here = spine.place(self.start)
            places = places[here:] if self.towards == "tail" else places[: here + 1]
        return renamed(spine, numbering_rules.shift(spine.chain, self.by, places))


@dataclass(frozen=True)
class SetLevel:
    """Give one vertebra a level and leave all others."""

    segmentId: str
    level: str

    @property
    def title(self) -> str:
        """What it is."""
        return f"Name {self.level}"

    def edit(self, spine: Spine) -> Edit:
        """Return the new name."""
        chain = numbering_rules.set_level(spine.chain, spine.place(self.segmentId), self.level)
        return renamed(spine, chain)


@dataclass(frozen=True)
class SwapLevels:
    """Exchange the names of two vertebrae."""

    one: str
    other: str

    title = _("Swap two names")

    def edit(self, spine: Spine) -> Edit:
        """Return the new names."""
        places = spine.place(self.one), spine.place(self.other)
        return renamed(spine, numbering_rules.swap(spine.chain, *places))


@dataclass(frozen=True)
class InsertLevel:
    """Say that a vertebra is one that most people do not have; its neighbours follow.

    Attributes:
        segmentId: The vertebra.
        level: "T13", "L6", or "T11" for the last with ribs where T12 has none.
    """

    segmentId: str
    level: str

    @property
    def title(self) -> str:
        """What it is."""
        return _("T11 is the last with ribs") if self.level == "T11" else f"Insert {self.level}"

    def edit(self, spine: Spine) -> Edit:
        """Return the new names."""
        rule = {
            "T13": numbering_rules.insert_t13,
            "L6": numbering_rules.insert_l6,
            "T11": numbering_rules.last_ribs_t11,
        }[self.level]
        return renamed(spine, rule(spine.chain, spine.place(self.segmentId)))


@dataclass(frozen=True)
class MarkVariant:
    """Note that a vertebra is of a kind between two regions; an empty text takes it back."""

    segmentId: str
    variant: str

    @property
    def title(self) -> str:
        """What it is."""
        return f"Mark {self.variant}" if self.variant else _("Take a mark back")

    def edit(self, spine: Spine) -> Edit:
        """Return the mark, and the name that goes with it."""
        place = spine.place(self.segmentId)
        chain = spine.chain
        level = VARIANTS.get(self.variant)
        if level is not None and chain[place] != level:
            inserts = level == "L6" and chain[place] in ("L5", "Sacrum")
            rule = numbering_rules.insert_l6 if inserts else None
            chain = rule(chain, place) if rule else numbering_rules.set_level(chain, place, level)
        names = renamed(spine, chain).levels
        return Edit(levels=names, tags={self.segmentId: {VARIANT_TAG: self.variant}})


def renamed(spine: Spine, chain: Sequence[str | None]) -> Edit:
    """Return the edit that leads to other names."""
    pairs = zip(spine.states.items(), chain, strict=True)
    return Edit(levels={i: new for (i, old), new in pairs if new is not None and new != old.level})
