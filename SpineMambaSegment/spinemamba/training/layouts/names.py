"""Names of labels that a data set states, and what becomes of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.anatomy.terminology import level_named
from spinemamba.common.errors import UserError
from spinemamba.training.layouts.user_case import IGNORED, Values

BACKGROUND, IGNORE_LABEL = "background", "ignore"
"""Names with a meaning of their own in nnU-Net's dataset.json."""


def translate(
    entries: Mapping[str, int], ignore: Collection[str], source: str
) -> tuple[Values, tuple[tuple[str, str], ...]]:
    """Return the VerSe value of each label value, and the translation in words.

    Args:
        entries: Value of each name.
        ignore: Names that become background.
        source: File that states the names.

    Raises:
        UserError: If a name is unknown and not in ``ignore``, a name in ``ignore`` does not occur,
            or two names are the same level. S1 and the rest of the sacrum may be two labels.
    """
    if missing := sorted(set(ignore) - set(entries)):
        raise UserError(
            f"{source} has no label {', '.join(missing)} to ignore.",
            f"Its labels are {', '.join(entries)}.",
        )
    values: Values = {}
    words = []
    unknown = []
    for name, value in entries.items():
        level = level_named(name)
        if name in ignore or value == 0 or name.lower() == BACKGROUND:
            values[value] = 0
            words.append((f"{value} {name}", BACKGROUND))
        elif name.lower() == IGNORE_LABEL:
            values[value] = IGNORED
            words.append((f"{value} {name}", "left out of the loss"))
        elif level is None:
            unknown.append(name)
        else:
            values[value] = level.value
            words.append((f"{value} {name}", level.name))
    if unknown:
        raise UserError(
            f"{source} has labels that are no levels: {', '.join(unknown)}.",
            "Name levels as L1 or vertebrae_L1. If a label is no vertebra, add "
            f"{' '.join(f'--ignore {_quoted(name)}' for name in unknown)}: it becomes background.",
        )
    _check_unique(entries, values, source)
    return values, tuple(words)


def _quoted(name: str) -> str:
    return f"'{name}'" if " " in name else name


def _check_unique(entries: Mapping[str, int], values: Values, source: str) -> None:
    """Raise UserError if two labels have the same value or level."""
    names: dict[int, list[str]] = {}
    for name, value in entries.items():
        if values[value] > 0 and values[value] != BY_NAME["Sacrum"].value:
            names.setdefault(values[value], []).append(name)
    for same in names.values():
        if len(same) > 1:
            raise UserError(
                f"{source} gives one level to several labels: {', '.join(same)}.",
                "Give each label its own value and level.",
            )
