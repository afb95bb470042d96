"""What the level network saw of the ribs, in words, beside the names of the vertebrae.

Standard library only, because the panel shows the same words as the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from spinemamba.protocol.result import Witnesses

RIBS_SEEN, RIBS_MISSED = 0.85, 0.15
"""Probability from which on a rib counts as seen, and up to which as not seen. Far apart, because
ribs at the edge of the field of view are uncertain."""

_LEAST_LANDMARK = 0.5
"""Least probability of the first or last rib, or of lying above the sacrum. Lower than that of a
rib, because of all vertebrae the most probable one is taken."""

LEAST_BESIDE_MM = 60.0
"""Least extent of the image beside the spine in which a rib can be told from a transverse process,
which ends at about 45 mm."""

_RIB_LEVELS = ("T", "L1")
"""Beginnings of the levels at which ribs are counted; cut ribs elsewhere decide nothing."""

_LAST_RIB_LEVELS = ("T12", "T13")

NOT_FOR_MR = (
    "There is no rib view of MR: fat and fluid are brighter than bone, so that a maximum intensity "
    "projection does not show the ribs."
)

Sight = Literal["seen", "unclear", "none"]


@dataclass(frozen=True)
class RibFinding:
    """What was seen at one vertebra.

    Attributes:
        right: Whether a rib was seen on the patient's right.
        left: Whether a rib was seen on the patient's left.
        text: A sentence, such as "Last rib at this vertebra (T12).".
        mark: A word or two for a picture or a table; empty at vertebrae in the middle of a region.
        agrees: Whether it fits the name; None if it says nothing about it.
    """

    right: Sight
    left: Sight
    text: str
    mark: str
    agrees: bool | None


def rib_findings(
    names: Sequence[str | None], witnesses: Sequence[Witnesses | None]
) -> list[RibFinding | None]:
    """Compare the ribs seen with the names.

    Args:
        names: Level of each vertebra from top to bottom; None for one without a level.
        witnesses: What the level network saw at each; None if it did not see the vertebra.

    Returns:
        The finding at each vertebra; None where the network saw nothing.
    """
    known = {k: seen for k, seen in enumerate(witnesses) if seen is not None}
    first = _most_probable({k: seen.first_rib for k, seen in known.items()})
    last = _most_probable({k: seen.last_rib for k, seen in known.items()})
    lowest = _most_probable({k: seen.above_sacrum for k, seen in known.items()})
    findings: list[RibFinding | None] = []
    for k, (name, seen) in enumerate(zip(names, witnesses, strict=True)):
        below = next((other for other in names[k + 1 :] if other), None)
        if seen is None:
            findings.append(None)
        elif k == last:
            findings.append(_last_rib(seen, name, below))
        elif k == first:
            findings.append(_landmark("first rib", seen, name, name == "T1"))
        elif k == lowest:
            findings.append(_landmark("above sacrum", seen, name, _may_be_lowest(name, below)))
        else:
            findings.append(_plain(seen, name))
    return findings


def contradiction(
    seen: Witnesses, name: str | None, limits: tuple[float, float] = (RIBS_SEEN, RIBS_MISSED)
) -> str:
    """Return a sentence if a level should have ribs and none is seen, or the other way round.

    Args:
        seen: What the level network saw at the vertebra.
        name: Its level; None if it has none.
        limits: Probability from which on a rib counts as seen, and up to which as not seen.

    Returns:
        The sentence; empty if there is no contradiction.
    """
    sides = (seen.rib_left, seen.rib_right)
    if name is None:
        return ""
    if name.startswith("T") and max(sides) <= limits[1]:
        return f"No ribs are seen here, but {name} has ribs."
    if not name.startswith("T") and min(sides) >= limits[0]:
        return f"Ribs are seen here, but {name} has none."
    return ""


def rib_summary(names: Sequence[str | None], findings: Sequence[RibFinding | None]) -> str:
    """Return one sentence about the whole spine; empty if no finding is known.

    Args:
        names: Level of each vertebra.
        findings: As returned by `rib_findings`.
    """
    both = [(name or "?", f) for name, f in zip(names, findings, strict=True) if f is not None]
    if not both:
        return ""
    seen = [f"{f.mark} at {name}" for name, f in both if f.mark in ("first rib", "last rib")]
    text = ", ".join(seen) if seen else "neither the first nor the last rib is seen"
    wrong = [name for name, f in both if f.agrees is False]
    end = f"this does not fit the names: see {', '.join(wrong)}" if wrong else "this fits the names"
    if not wrong and not any(f.agrees for _, f in both):
        return f"{text[0].upper()}{text[1:]}."
    return f"{text[0].upper()}{text[1:]}; {end}."


def narrow_note(names: Sequence[str]) -> str:
    """Return a sentence if ribs may be cut; empty if they are not.

    Args:
        names: Levels beside which the image extends less than `LEAST_BESIDE_MM`, from the top.
    """
    at = [name for name in names if name.startswith(_RIB_LEVELS)]
    if not at:
        return ""
    levels = at[0] if len(at) == 1 else f"{at[0]} to {at[-1]}"
    extent = f"less than {LEAST_BESIDE_MM:.0f} mm beside the spine"
    return f"At {levels} the image shows {extent}: ribs may be cut."


def _most_probable(chances: dict[int, float]) -> int | None:
    best = max(chances, key=lambda k: chances[k], default=None)
    return None if best is None or chances[best] < _LEAST_LANDMARK else best


def _last_rib(seen: Witnesses, name: str | None, below: str | None) -> RibFinding:
    finding = _landmark("last rib", seen, name, _may_be_last(name, below))
    if finding.agrees is False and (name or "").startswith("T") and (below or "").startswith("T"):
        text = f"Last rib at this vertebra ({name}), but {below} below it has ribs by its name."
        return replace(finding, text=text)
    return finding


def _may_be_last(name: str | None, below: str | None) -> bool:
    """Return whether the last rib fits a level; in a spine with T11 above L1, also T11."""
    if name == "T11":
        return below is not None and not below.startswith("T")
    return name in _LAST_RIB_LEVELS and not (below or "").startswith("T")


def _may_be_lowest(name: str | None, below: str | None) -> bool:
    return below == "Sacrum" or (below is None and name in ("L5", "L6"))


def _landmark(mark: str, seen: Witnesses, name: str | None, fits: bool) -> RibFinding:
    """Return the finding at the first or last rib, or above the sacrum."""
    right, left = _sight(seen.rib_right), _sight(seen.rib_left)
    what = "Directly above the sacrum"
    if mark != "above sacrum":
        only = {("seen", "none"): ", on the right only", ("none", "seen"): ", on the left only"}
        what = f"{mark.capitalize()} at this vertebra{only.get((right, left), '')}"
    if name is None:
        return RibFinding(right, left, f"{what}.", mark, None)
    text = f"{what} ({name})." if fits else f"{what}, but it is named {name}."
    return RibFinding(right, left, text, mark, fits)


def _plain(seen: Witnesses, name: str | None) -> RibFinding:
    """Return the finding at any other vertebra."""
    right, left = _sight(seen.rib_right), _sight(seen.rib_left)
    if sentence := contradiction(seen, name):
        return RibFinding(right, left, sentence, "no rib" if left == "none" else "ribs", False)
    if right == left:
        texts = {"seen": "Ribs on both sides.", "none": "No rib seen.", "unclear": "Ribs unclear."}
        agrees = None if name is None or right == "unclear" else True
        return RibFinding(right, left, texts[right], "", agrees)
    sides = {"right": right, "left": left}
    side, other = sorted(sides, key=lambda s: ("seen", "unclear", "none").index(sides[s]))
    if sides[side] == "seen" and sides[other] == "none":
        return RibFinding(right, left, f"Rib on the {side} only.", "one rib", None)
    if sides[side] == "seen":
        return RibFinding(right, left, f"Rib on the {side}, unclear on the {other}.", "", None)
    return RibFinding(right, left, f"No rib on the {other}, unclear on the {side}.", "", None)


def _sight(probability: float) -> Sight:
    if probability >= RIBS_SEEN:
        return "seen"
    return "none" if probability <= RIBS_MISSED else "unclear"
