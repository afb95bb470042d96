"""Level numbering rules: shift, swap and insert levels.

A chain is the tuple of level names from head to tail, with None for a vertebra without a level.
Every function returns a new chain without duplicate names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from spinemamba.anatomy.labels import BY_NAME, LABELS, RARE
from spinemamba.common.errors import UserError

Chain = tuple[str | None, ...]
_FIXED = ("Sacrum", "Coccyx")
"""Levels of a unique shape, which a shift does not change."""

_TIGHT = (("T11", "L1"),)
"""Neighbouring levels in spines with fewer vertebrae than usual."""


def shift(chain: Sequence[str | None], by: int, positions: Iterable[int] | None = None) -> Chain:
    """Shift names by one level along the spine, except for the sacrum and the coccyx.

    T13 and L6 are included if the chain contains them. The level below L5 is the sacrum if the
    chain does not contain one, and else L6.

    Args:
        chain: Names from head to tail.
        by: 1 towards the tail (L1 becomes L2), -1 towards the head.
        positions: Indices in the chain of the names to shift; None for all.

    Raises:
        UserError: If there is no next level, or another vertebra has it.
    """
    positions = set(range(len(chain)) if positions is None else positions)
    levels = [
        n.name for n in LABELS if n.name not in _FIXED and (n.name not in RARE or n.name in chain)
    ]
    if "L6" not in levels and "Sacrum" in chain:
        levels.append("L6")
    elif "Sacrum" not in chain:
        levels.append("Sacrum")
    shifted = [
        _step(name, by, levels) if k in positions and name not in (None, *_FIXED) else name
        for k, name in enumerate(chain)
    ]
    return checked(shifted)


def _step(name: str, by: int, levels: Sequence[str]) -> str:
    index = levels.index(name) + by
    if not 0 <= index < len(levels):
        raise UserError(
            f"There is no level {'below' if by > 0 else 'above'} {name}.",
            "Shift only a part of the chain, or set one level and solve the others again.",
        )
    return levels[index]


def set_level(chain: Sequence[str | None], position: int, name: str) -> Chain:
    """Set the level of one vertebra, and leave all others unchanged.

    Raises:
        UserError: If the name is not a level, or another vertebra has it.
    """
    if name not in BY_NAME:
        raise UserError(f"{name!r} is not a level.", "Use C1 to L6, T13, Sacrum or Coccyx.")
    return checked([name if k == position else old for k, old in enumerate(chain)])


def swap(chain: Sequence[str | None], one: int, other: int) -> Chain:
    """Exchange the names of two vertebrae."""
    names = list(chain)
    names[one], names[other] = names[other], names[one]
    return checked(names)


def insert_t13(chain: Sequence[str | None], position: int) -> Chain:
    """Rename T12 or L1 to T13, and shift the names on one side by one level.

    Renaming T12 shifts the names above it down, as these were counted from below. Renaming L1
    shifts the names below it up, as these were counted from above.

    Raises:
        UserError: If the vertebra is neither, or the chain already contains a T13.
    """
    if chain[position] == "T12":
        return _rename_and_shift(chain, position, "T13", (range(position), 1))
    if chain[position] == "L1":
        return _rename_and_shift(chain, position, "T13", (range(position + 1, len(chain)), -1))
    raise _wrong_vertebra(chain[position], "T13", "T12 or L1")


def insert_l6(chain: Sequence[str | None], position: int) -> Chain:
    """Rename L5 or Sacrum to L6; renaming L5 shifts the names above it down.

    Raises:
        UserError: If the vertebra is neither, or the chain already contains an L6.
    """
    if chain[position] == "L5":
        return _rename_and_shift(chain, position, "L6", (range(position), 1))
    if chain[position] == "Sacrum":
        return _rename_and_shift(chain, position, "L6", (range(0), 0))
    raise _wrong_vertebra(chain[position], "L6", "L5 or Sacrum")


def last_ribs_t11(chain: Sequence[str | None], position: int) -> Chain:
    """Make a vertebra named T11 or T12 the T11 of a spine with 11 thoracic vertebrae.

    The next vertebra is L1. Renaming T12 shifts the names above it up; for T11 the names below it
    are shifted down.

    Raises:
        UserError: If the vertebra is neither.
    """
    if chain[position] == "T12":
        return _rename_and_shift(chain, position, "T11", (range(position), -1))
    if chain[position] == "T11":
        return shift(chain, 1, range(position + 1, len(chain)))
    raise _wrong_vertebra(chain[position], "the last with ribs, T11,", "T11 or T12")


def missing_between(above: str, below: str) -> tuple[str, ...] | None:
    """Return the usual levels that are missing between two neighbours.

    Returns:
        Names from head to tail, without T13, L6, and T12 between T11 and L1; None if ``below`` is
        not a level below ``above``.
    """
    order = [label.name for label in LABELS]
    first, last = order.index(above), order.index(below)
    if first >= last:
        return None
    missing = tuple(name for name in order[first + 1 : last] if name not in RARE)
    return () if (above, below) in _TIGHT else missing


def free_level(chain: Sequence[str | None], position: int) -> str:
    """Return the nearest free level for a new vertebra.

    Args:
        chain: Names from head to tail.
        position: Index in the chain before which the vertebra is inserted.

    Raises:
        UserError: If all levels are taken.
    """
    order = {label.name: k for k, label in enumerate(LABELS)}
    above = [order[name] for name in chain[:position] if name]
    below = [order[name] for name in chain[position:] if name]
    expected = above[-1] + 1 if above else (below[0] - 1 if below else order["L1"])
    free = [n for n in order if n not in chain and n not in RARE and n != "Coccyx"]
    if not free:
        raise UserError("All levels are taken.", "Delete or merge a vertebra first.")
    return min(free, key=lambda name: (abs(order[name] - expected), order[name]))


def _rename_and_shift(
    chain: Sequence[str | None], position: int, name: str, others: tuple[range, int]
) -> Chain:
    remaining = [None if k == position else old for k, old in enumerate(chain)]
    positions, by = others
    shifted = list(shift(remaining, by, positions) if by else remaining)
    shifted[position] = name
    return checked(shifted)


def _wrong_vertebra(name: str | None, what: str, where: str) -> UserError:
    return UserError(
        f"{name or 'A vertebra without a level'} cannot be {what}.",
        f"Choose the vertebra that is named {where}.",
    )


def checked(chain: Sequence[str | None]) -> Chain:
    """Return the chain if it has no duplicate names.

    Raises:
        UserError: If a name occurs twice.
    """
    names: set[str] = set()
    for name in filter(None, chain):
        if name in names:
            raise UserError(
                f"Two vertebrae would be {name}.",
                "Shift or rename the other one first, or swap the two.",
            )
        names.add(name)
    return tuple(chain)
