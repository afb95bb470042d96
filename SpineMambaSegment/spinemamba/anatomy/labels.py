"""Label table: the only definition of levels, their label values, codes and colours."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Label:
    """One anatomical level.

    Attributes:
        value: Value in label maps, following VerSe and TPTBox.
        name: Display name.
        snomed: SNOMED CT code; None if there is none (T13, L6).
        color: Red, green, blue, 0 to 255.
    """

    value: int
    name: str
    snomed: str | None
    color: tuple[int, int, int]


LABELS: tuple[Label, ...] = (
    Label(1, "C1", "14806007", (242, 109, 109)),
    Label(2, "C2", "39976000", (50, 199, 93)),
    Label(3, "C3", "113205007", (166, 85, 224)),
    Label(4, "C4", "5329002", (242, 226, 109)),
    Label(5, "C5", "36978003", (50, 174, 199)),
    Label(6, "C6", "36054005", (224, 85, 161)),
    Label(7, "C7", "87391001", (142, 242, 109)),
    Label(8, "T1", "64864005", (56, 50, 199)),
    Label(9, "T2", "53733008", (224, 132, 85)),
    Label(10, "T3", "1626008", (109, 242, 192)),
    Label(11, "T4", "73071006", (187, 50, 199)),
    Label(12, "T5", "56401006", (195, 224, 85)),
    Label(13, "T6", "45296009", (109, 175, 242)),
    Label(14, "T7", "62487009", (199, 50, 81)),
    Label(15, "T8", "11068009", (85, 224, 97)),
    Label(16, "T9", "82687006", (159, 109, 242)),
    Label(17, "T10", "7610001", (199, 149, 50)),
    Label(18, "T11", "12989004", (85, 224, 219)),
    Label(19, "T12", "23215003", (242, 109, 209)),
    Label(28, "T13", None, (118, 199, 50)),
    Label(20, "L1", "66794005", (85, 108, 224)),
    Label(21, "L2", "14293000", (242, 126, 109)),
    Label(22, "L3", "36470004", (50, 199, 112)),
    Label(23, "L4", "11994002", (184, 85, 224)),
    Label(24, "L5", "49668003", (242, 242, 109)),
    Label(25, "L6", None, (50, 155, 199)),
    Label(26, "Sacrum", "54735007", (224, 85, 143)),
    Label(27, "Coccyx", "64688005", (125, 242, 109)),
)
"""All levels from head to tail. T13 is 28 and L6 is 25: sort by this order, never by value."""

RARE = ("T13", "L6")
"""Levels that most spines do not have."""

NETWORK_LEVELS: tuple[str, ...] = tuple(
    label.name for label in LABELS if label.name not in (*RARE, "Coccyx")
)
"""Classes of the networks: channel 0 is background, channel k + 1 is ``NETWORK_LEVELS[k]``.

T13 and L6 are too rare to be classes; the level solver assigns them.
"""

BY_VALUE = {label.value: label for label in LABELS}
BY_NAME = {label.name: label for label in LABELS}
ORDER = {label.name: position for position, label in enumerate(LABELS)}
"""Craniocaudal index of each name."""


def channel_of_value() -> dict[int, int]:
    """Return the network channel of each label value.

    Networks are trained with T13 as T12 and L6 as L5, which the level solver distinguishes by their
    neighbours. The coccyx is background.
    """
    channels = {BY_NAME[name].value: k + 1 for k, name in enumerate(NETWORK_LEVELS)}
    channels[BY_NAME["T13"].value] = channels[BY_NAME["T12"].value]
    channels[BY_NAME["L6"].value] = channels[BY_NAME["L5"].value]
    channels[BY_NAME["Coccyx"].value] = 0
    return channels
