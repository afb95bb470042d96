"""Read the named vertebrae of another scan: a result of this program, or labels of any kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from spinemamba.common.errors import UserError
from spinemamba.imaging.structure_folder import is_structure_folder
from spinemamba.imaging.write import LABEL_FORMATS
from spinemamba.labelmaps.read import read_vertebra_labels, result_beside
from spinemamba.labelmaps.same_run import why_other
from spinemamba.levels.outlines import LEVELS, OtherScan, outlines_of
from spinemamba.protocol.result import RESULT_END, read_result


def read_other_scan(path: Path) -> OtherScan:
    """Read the named vertebrae of another scan.

    Args:
        path: result.json of a run with its labels beside it, a folder with both, or labels of any
            kind that `read_vertebra_labels` reads.

    Raises:
        UserError: As `read_vertebra_labels`; if a result has no labels, or other ones.
    """
    labels, result_path = _files(path)
    volume = read_vertebra_labels(labels).volume
    outlines = outlines_of(volume, LEVELS)
    result = None if result_path is None else read_result(result_path)
    why = "" if result is None else why_other(result, volume, corrected=True)
    if why and labels != path:
        raise UserError(
            f"{labels.name} does not belong to {result_path.name}: {why}.",
            "Give the labels that were written with it.",
        )
    if result is None or why:  # labels may lie beside the result of another run
        return OtherScan(path.name, outlines)
    certainty = {item.name: item.posterior for item in result.instances}
    outlines = tuple(replace(o, certainty=certainty.get(o.level, 1.0)) for o in outlines)
    frame = result.frame_of_reference or None
    return OtherScan(path.name, outlines, result.doubt != "none", frame)


def _files(path: Path) -> tuple[Path, Path | None]:
    """Return the paths of labels and of their result.json, if there is one.

    Raises:
        UserError: If the path is a folder without a result or with several, or the labels of a
            result are missing.
    """
    if path.is_dir() and not is_structure_folder(path):
        results = sorted(path.glob(f"*{RESULT_END}"))
        if not results:
            return path, None
        if len(results) > 1:
            raise UserError(
                f"{path.name} has {len(results)} results.", f"Give one of its *{RESULT_END} files."
            )
        path = results[0]
    if not path.name.endswith(RESULT_END):
        return path, None if path.is_dir() else result_beside(path)
    stem = path.name.removesuffix(RESULT_END)
    for ending in LABEL_FORMATS:
        if (labels := path.with_name(stem + ending)).is_file():
            return labels, path
    raise UserError(
        f"The labels of {path.name} are not beside it.",
        f"Put them there, for example as {stem}{next(iter(LABEL_FORMATS))}, or give the labels.",
    )
