"""Random sequences of actions, undo and redo keep the spine valid."""

from __future__ import annotations

import random

import numpy as np
import pytest

slicer = pytest.importorskip("slicer")

from review_helpers import SHAPE, add_spine, everything, on_grid, result_of, spine_labels  # noqa: E402

from spinemamba.anatomy.labels import LABELS  # noqa: E402
from spinemamba.common.errors import UserError  # noqa: E402
from SpineMambaSegmentLib.Review import Log  # noqa: E402
from SpineMambaSegmentLib.Review.Display import rowsOf  # noqa: E402
from SpineMambaSegmentLib.Review.LevelActions import (  # noqa: E402
    InsertLevel,
    MarkVariant,
    SetLevel,
    ShiftLevels,
    SwapLevels,
)
from SpineMambaSegmentLib.Review.Mask import Mask  # noqa: E402
from SpineMambaSegmentLib.Review.Pins import PinLevel  # noqa: E402
from SpineMambaSegmentLib.Review.SegmentState import STATUSES  # noqa: E402
from SpineMambaSegmentLib.Review.Session import ReviewSession  # noqa: E402
from SpineMambaSegmentLib.Review.ShapeActions import (  # noqa: E402
    Delete,
    FillHoles,
    Merge,
    RemoveIslands,
    SetMask,
    SplitByPlane,
    SplitBySeeds,
)
from SpineMambaSegmentLib.Review.StatusActions import ApproveRest, SetStatus  # noqa: E402

STEPS = 80
NAMES = [label.name for label in LABELS]


def any_mask(dice: random.Random) -> Mask:
    first = [dice.randrange(-3, n - 3) for n in SHAPE]
    return Mask.of(np.ones([dice.randrange(1, 9) for _ in SHAPE], bool), first)


def any_place(dice: random.Random, spine, segment_id: str) -> tuple[float, float, float]:
    mask = spine.states[segment_id].mask
    kji = [f + dice.randrange(n) if n else 0 for f, n in zip(mask.first, mask.shape, strict=True)]
    return tuple(spine.toRas(np.array(kji)))


def any_action(dice: random.Random, spine):
    """Return an action that may or may not be possible now."""
    ids = spine.ids
    one, other = dice.choice(ids), dice.choice(ids)
    place = any_place(dice, spine, one)
    return dice.choice(
        [
            lambda: ShiftLevels(dice.choice((-1, 1))),
            lambda: ShiftLevels(dice.choice((-1, 1)), one, dice.choice(("head", "tail"))),
            lambda: SetLevel(one, dice.choice(NAMES)),
            lambda: SwapLevels(one, other),
            lambda: InsertLevel(one, dice.choice(("T13", "L6", "T11"))),
            lambda: MarkVariant(one, dice.choice(("sacralised L5", "lumbarised S1", ""))),
            lambda: PinLevel(one, dice.choice(NAMES[:-1])),
            lambda: SetStatus((one,), dice.choice(STATUSES)),
            lambda: SetStatus((one, other), STATUSES[0]),
            lambda: ApproveRest(),
            lambda: SplitBySeeds(one, (place, any_place(dice, spine, one))),
            lambda: SplitByPlane(one, place, (0.0, dice.random(), 1.0)),
            lambda: Merge((one, other)),
            lambda: Delete((one,)),
            lambda: RemoveIslands((one, other)),
            lambda: FillHoles(tuple(ids)),
            lambda: SetMask(one, any_mask(dice)),
            lambda: SetMask("", any_mask(dice)),
        ]
    )()


def check(session: ReviewSession, node) -> None:
    """Hold everything that must always be so."""
    segmentation = node.GetSegmentation()
    ids = list(segmentation.GetSegmentIDs())
    levels = [level for level in session.spine.chain if level]
    assert len(levels) == len(set(levels))
    assert [row.segmentId for row in rowsOf(session.spine)] == session.spine.ids
    assert sorted(session.spine.ids) == sorted(ids)
    assert sorted(row.segmentId for row in rowsOf(session.spine, True)) == sorted(ids)
    count = np.zeros([n + 64 for n in SHAPE], np.uint8)
    for segment_id in ids:
        image = slicer.vtkOrientedImageData()
        node.GetBinaryLabelmapRepresentation(segment_id, image)
        count += on_grid(image, SHAPE)
    assert count.max(initial=0) <= 1
    # What the session believes is what a new one reads.
    assert ReviewSession(node).spine.states == session.spine.states


class Walk:
    """A session, all states that undo and redo may lead to, and where it stands among them."""

    def __init__(self, node, seed: int):
        self.node, self.dice = node, random.Random(seed)
        self.session = ReviewSession(node, reviewer="R")
        self.history, self.at, self.done = [everything(node)], 0, 0

    def step(self) -> None:
        """Do something, take something back, or do it again."""
        roll = self.dice.random()
        if self.at and (roll < 0.2 or not self.session.spine.ids):
            self.session.undo()
            self.at -= 1
        elif roll < 0.3 and self.at < len(self.history) - 1:
            self.session.redo()
            self.at += 1
        else:
            self.act()
        assert everything(self.node) == self.history[self.at]

    def act(self) -> None:
        """Do something that may or may not be possible; what is approved stays."""
        before = self.session.spine
        action = any_action(self.dice, before)
        try:
            self.session.apply(action)
        except UserError:
            return
        self.done += 1
        self.at += 1
        self.history[self.at :] = [everything(self.node)]
        if isinstance(action, SetStatus):
            return
        for segment_id in before.approved():
            old, new = before.states[segment_id], self.session.spine.states[segment_id]
            assert (new.mask, new.level) == (old.mask, old.level)


@pytest.mark.parametrize("seed", [0])
def test_random_actions_and_random_undo_keep_the_spine_in_order(make_volume, seed: int):
    labels = spine_labels()
    node = add_spine(make_volume(labels.astype(np.int16), np.eye(4)), labels, result_of())
    walk = Walk(node, seed)
    while walk.done < STEPS:
        walk.step()
        check(walk.session, node)
    while walk.session.undoTitle:
        walk.session.undo()
    assert everything(node) == walk.history[0]
    assert len(Log.read(node)) >= STEPS
