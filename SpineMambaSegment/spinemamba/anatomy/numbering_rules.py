"""Change the names of a chain of vertebrae by rule. Standard library only: the panel uses it.

A chain is the names from head to tail, None where a vertebra has no level. Every function
returns a new chain, in which no name stands twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from spinemamba.anatomy.labels import BY_NAME, LABELS
from spinemamba.common.errors import UserError

Chain = tuple[str | None, ...]
FIXED = ("Sacrum", "Coccyx")
"""What looks like no other level; a shift does not move it."""

RARE = ("T13", "L6")
TIGHT = (("T11", "L1"),)
"""Neighbours in spines that have fewer vertebrae than most."""


def shift(chain: Sequence[str | None], by: int, places: Iterable[int] | None = None) -> Chain:
    """Move names by one level along the spine; sacrum and coccyx stay.

    T13 and L6 take part if the chain has them. Below L5 comes the sacrum if the chain has none,
    else L6.

    Args:
        chain: Names from head to tail.
        by: 1 towards the tail (L1 becomes L2), -1 towards the head.
        places: Which to move; None for all.

    Raises:
        UserError: If there is no such level, or it is taken.
    """
    places = set(range(len(chain)) if places is None else places)
    ladder = [
        n.name for n in LABELS if n.name not in FIXED and (n.name not in RARE or n.name in chain)
    ]
    if "L6" not in ladder and "Sacrum" in chain:
        ladder.append("L6")
    elif "Sacrum" not in chain:
        ladder.append("Sacrum")
    moved = [
        _step(name, by, ladder) if k in places and name not in (None, *FIXED) else name
        for k, name in enumerate(chain)
    ]
    return checked(moved)


def _step(name: str, by: int, ladder: Sequence[str]) -> str:
    place = ladder.index(name) + by
    if not 0 <= place < len(ladder):
        raise UserError(
            f"There is no level {'below' if by > 0 else 'above'} {name}.",
            "Shift only a part of the chain, or set one level and solve the others again.",
        )
    return ladder[place]


def set_level(chain: Sequence[str | None], place: int, name: str) -> Chain:
    """Give one vertebra a level and leave all others.

    Raises:
        UserError: If there is no such level, or another vertebra has it.
    """
    if name not in BY_NAME:
        raise UserError(f"{name!r} is no level.", "Use C1 to L6, T13, Sacrum or Coccyx.")
    return checked([name if k == place else old for k, old in enumerate(chain)])


def swap(chain: Sequence[str | None], one: int, other: int) -> Chain:
    """Exchange the names of two vertebrae."""
    names = list(chain)
    names[one], names[other] = names[other], names[one]
    return checked(names)


def insert_t13(chain: Sequence[str | None], place: int) -> Chain:
    """Say that a vertebra named T12 or L1 is T13: the names on its other side move by one.

    Of a vertebra named T12 those above were counted from below and move down; of one named L1
    those below were counted from above and move up.

    Raises:
        UserError: If it is neither, or a T13 is there.
    """
    if chain[place] == "T12":
        return _becomes(chain, place, "T13", (range(place), 1))
    if chain[place] == "L1":
        return _becomes(chain, place, "T13", (range(place + 1, len(chain)), -1))
    raise _not_between(chain[place], "T13", "T12 or L1")


def insert_l6(chain: Sequence[str | None], place: int) -> Chain:
    """Say that a vertebra named L5 or Sacrum is L6; of L5 the names above move down.

    Raises:
        UserError: If it is neither, or an L6 is there.
    """
    if chain[place] == "L5":
        return _becomes(chain, place, "L6", (range(place), 1))
    if chain[place] == "Sacrum":
        return _becomes(chain, place, "L6", (range(0), 0))
    raise _not_between(chain[place], "L6", "L5 or Sacrum")


def last_ribs_t11(chain: Sequence[str | None], place: int) -> Chain:
    """Say that a vertebra named T11 or T12 is T11 and the last with ribs; the next is L1.

    Of a vertebra named T12 those above move up; of one named T11 those below move down.

    Raises:
        UserError: If it is neither.
    """
    if chain[place] == "T12":
        return _becomes(chain, place, "T11", (range(place), -1))
    if chain[place] == "T11":
        return shift(chain, 1, range(place + 1, len(chain)))
    raise _not_between(chain[place], "the last with ribs, T11,", "T11 or T12")


def missing_between(above: str, below: str) -> tuple[str, ...] | None:
    """Return the usual levels that a chain leaves out between two neighbours.

    Returns:
        Names from head to tail, without T13, L6 and what a spine may lack; None if ``below`` does
        not belong below ``above``.
    """
    order = [label.name for label in LABELS]
    first, last = order.index(above), order.index(below)
    if first >= last:
        return None
    missing = tuple(name for name in order[first + 1 : last] if name not in RARE)
    return () if (above, below) in TIGHT else missing


def free_level(chain: Sequence[str | None], place: int) -> str:
    """Return the level of a vertebra that is found at a place in the chain: the nearest free one.

    Args:
        chain: Names from head to tail.
        place: Before which of them it lies.

    Raises:
        UserError: If all names are taken.
    """
    order = {label.name: k for k, label in enumerate(LABELS)}
    above = [order[name] for name in chain[:place] if name]
    below = [order[name] for name in chain[place:] if name]
    wanted = above[-1] + 1 if above else (below[0] - 1 if below else order["L1"])
    free = [n for n in order if n not in chain and n not in RARE and n != "Coccyx"]
    if not free:
        raise UserError("Every level has its vertebra.", "Delete or merge one first.")
    return min(free, key=lambda name: (abs(order[name] - wanted), order[name]))


def _becomes(
    chain: Sequence[str | None], place: int, name: str, others: tuple[range, int]
) -> Chain:
    without = [None if k == place else old for k, old in enumerate(chain)]
    places, by = others
    moved = list(shift(without, by, places) if by else without)
    moved[place] = name
    return checked(moved)


def _not_between(name: str | None, what: str, where: str) -> UserError:
    return UserError(
        f"{name or 'A vertebra without a level'} cannot be {what}.",
        f"Choose the vertebra that is named {where}.",
    )


def checked(chain: Sequence[str | None]) -> Chain:
    """Return a chain in which every name stands once.

    Raises:
        UserError: If one stands twice.
    """
    seen: set[str] = set()
    for name in filter(None, chain):
        if name in seen:
            raise UserError(
                f"Two vertebrae would be {name}.",
                "Shift or rename the other one first, or swap the two.",
            )
        seen.add(name)
    return tuple(chain)
