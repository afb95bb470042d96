"""Find images that a data set holds twice, under other names or for other patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from spinemamba.training.layouts.check import CaseReport
from spinemamba.training.layouts.splits import Selection


def with_same_images(reports: Sequence[CaseReport], selection: Selection) -> tuple[CaseReport, ...]:
    """Return the reports, with a remark on each image whose voxels are those of another case.

    It is a problem if one of them is trained on and the other one is not, because a validation or
    a test would then measure what was learned by heart. Otherwise it is a warning.
    """
    trained = {case.name for case in selection.training}
    by_content: dict[str, list[CaseReport]] = {}
    for found in reports:
        if found.content:
            by_content.setdefault(found.content, []).append(found)
    return tuple(_remarked(found, by_content.get(found.content, []), trained) for found in reports)


def _remarked(found: CaseReport, same: list[CaseReport], trained: set[str]) -> CaseReport:
    others = [one.case.name for one in same if one is not found]
    if not others:
        return found
    text = f"{found.case.image.name}: the same image as that of {', '.join(others)}"
    own = found.case.name in trained
    if leaks := [name for name in others if (name in trained) != own]:
        where = "trained on" if not own else "not trained on"
        text = f"{text}; {', '.join(leaks)} is {where}: remove one of them"
        return replace(found, problems=(*found.problems, text))
    return replace(found, warnings=(*found.warnings, text))
