"""Vertebrae chosen by ranges of levels, such as ``T12,L1-L5``."""

from __future__ import annotations

from collections.abc import Sequence

from spinemamba.anatomy.labels import ORDER
from spinemamba.anatomy.terminology import level_named
from spinemamba.common.errors import UserError
from spinemamba.export.item import Vertebra


def level_ranges(text: str) -> list[tuple[str, str]]:
    """Return the first and last level of each range in a text such as ``T12,L1-L5``.

    Raises:
        ValueError: If a part is neither a level nor a range from cranial to caudal.
    """
    ranges = []
    for part in text.split(","):
        ends = [level_named(name) for name in part.split("-")]
        names = [label.name for label in ends if label is not None]
        if len(names) != len(ends) or len(ends) > 2 or ORDER[names[0]] > ORDER[names[-1]]:
            raise ValueError(f"'{part}' is neither a level such as L1 nor a range such as L1-L5")
        ranges.append((names[0], names[-1]))
    return ranges


def selected(
    vertebrae: Sequence[Vertebra], levels: Sequence[list[tuple[str, str]]] | None
) -> list[Vertebra]:
    """Return the vertebrae of the given ranges of levels, or all if None.

    Raises:
        UserError: If an end of a range is missing.
    """
    if levels is None:
        return list(vertebrae)
    ranges = [ends for given in levels for ends in given]
    present = {v.level for v in vertebrae}
    if missing := [end for ends in ranges for end in dict.fromkeys(ends) if end not in present]:
        raise UserError(
            f"There is no {', '.join(missing)}.",
            f"There are {', '.join(v.level for v in vertebrae)}.",
        )
    return [
        v
        for v in vertebrae
        if any(ORDER[first] <= ORDER[v.level] <= ORDER[last] for first, last in ranges)
    ]
