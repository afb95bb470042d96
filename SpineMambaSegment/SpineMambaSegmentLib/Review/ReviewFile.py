"""The review as a JSON file: result of the run, fixed levels and log.

Names, codes, status and reviewer are tags of the segments and are saved in ``.seg.nrrd``; this
file holds attributes of the segmentation node, which that format does not save.
"""

from __future__ import annotations

import json
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.review import REVIEW, REVIEW_END, TRIAGE, Decision, Review
from SpineMambaSegmentLib.Review import Log
from SpineMambaSegmentLib.Review.Spine import PINS_ATTRIBUTE, Spine
from SpineMambaSegmentLib.Scene import Frames
from SpineMambaSegmentLib.Scene.Provenance import RESULT_ATTRIBUTE

SUFFIX = REVIEW_END
_RUN_TAG = "SpineMamba.Run"
PARTS = {"result": RESULT_ATTRIBUTE, "fixed_levels": PINS_ATTRIBUTE, "log": Log.ATTRIBUTE}


def write(node: slicer.vtkMRMLSegmentationNode, path: Path) -> None:
    """Write the review; on an error, no partial file is left.

    Raises:
        UserError: If it cannot be written (OUTPUT_BAD).
    """
    values = {name: json.loads(node.GetAttribute(key) or "null") for name, key in PARTS.items()}
    writeText(REVIEW.to_text(Review(**values), indent=1), path)


def writeText(text: str, path: Path) -> None:
    """Write a text file; on an error, no partial file is left.

    Raises:
        UserError: If it cannot be written (OUTPUT_BAD).
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(
            _("{file} cannot be written.").format(file=path.name),
            _("Choose a folder that you may write to, on a disk with space left."),
            Code.OUTPUT_BAD,
        ) from error


def read(node: slicer.vtkMRMLSegmentationNode, path: Path) -> None:
    """Restore a review into the attributes of a segmentation.

    Raises:
        UserError: If the file is not a review, or belongs to another segmentation; then nothing
            is changed.
    """
    try:
        review = REVIEW.parse_text(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            _("{file} is not the review of a segmentation: {error}.").format(
                file=path.name, error=error
            ),
            _("Choose a file written by Save the review."),
        ) from error
    logged = {change.segment for entry in review.log or () for change in entry.changes}
    ids = set(node.GetSegmentation().GetSegmentIDs())
    if not set(review.fixed_levels or {}) <= ids or (logged and not logged & ids):
        raise UserError(
            _("{file} is the review of another segmentation.").format(file=path.name),
            _("Open the segmentation that was saved with it, and choose it above."),
        )
    values = REVIEW.to_json(review)
    for name, key in PARTS.items():
        value = values[name]
        text = None if value is None else json.dumps(value, separators=(",", ":"))
        node.SetAttribute(key, text)
    Frames.keep(node)


def decisionIn(path: Path, spine: Spine) -> Decision | None:
    """Return the decision about a spine in the review of a cohort; None in any other file.

    Raises:
        UserError: If the review has no decision about the run of the spine.
    """
    try:
        triage = TRIAGE.parse_text(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    runs = {state.tag(_RUN_TAG) for state in spine.states.values()} - {""}
    for decision in triage.decisions:
        if decision.run_id in runs:
            return decision
    raise UserError(
        _("{file} has no decision about this segmentation.").format(file=path.name),
        _("Open the labels of a case that was read in the triage page."),
    )
