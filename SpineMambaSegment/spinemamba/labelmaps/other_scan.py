"""Read the named vertebrae of another scan: a result of this program, or labels of any kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.anatomy.terminology import segment_info
from spinemamba.common.errors import UserError
from spinemamba.imaging.seg_nrrd import write_labels
from spinemamba.imaging.structure_folder import is_structure_folder
from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import LABEL_FORMATS
from spinemamba.labelmaps.read import read_vertebra_labels, result_beside, values_in
from spinemamba.labelmaps.same_run import why_other
from spinemamba.levels.outlines import LEVELS, OtherScan, outlines_of
from spinemamba.protocol.result import RESULT_END, InstanceResult, Result, read_result


def read_other_scan(path: Path) -> OtherScan:
    """Read the named vertebrae of another scan.

    Args:
        path: result.json of a run with its labels beside it, a folder with both, or labels of any
            kind that `read_vertebra_labels` reads.

    Raises:
        UserError: As `read_vertebra_labels`; if a result has no labels, or other ones.
    """
    volume, result = _labels_and_result(path)
    outlines = outlines_of(volume, LEVELS)
    if result is None:
        return OtherScan(path.name, outlines)
    certainty = {item.name: item.posterior for item in result.instances}
    outlines = tuple(replace(o, certainty=certainty.get(o.level, 1.0)) for o in outlines)
    frame = result.frame_of_reference or None
    return OtherScan(path.name, outlines, result.doubt != "none", frame)


def copy_other_scan(path: Path, labels: Path) -> None:
    """Write another scan as `read_other_scan` needs it, without anything else in its files.

    The copy has levels, their probabilities and places, but no names of segments, messages or
    metadata.

    Args:
        path: As for `read_other_scan`.
        labels: The copy, a ``.seg.nrrd`` file; its result is written beside it if there is one.

    Raises:
        UserError: As `read_other_scan`; if the copy cannot be written.
    """
    volume, result = _labels_and_result(path)
    infos = [segment_info(v) for v in values_in(volume.array) if v in BY_VALUE]
    write_labels(volume, labels, infos)
    if result is not None:
        stem = labels.name.removesuffix(LABEL_FORMATS[0])
        _essence(result).write(labels.with_name(stem + RESULT_END))


def _essence(result: Result) -> Result:
    """Return a result with what `read_other_scan` uses, and nothing else."""

    def plain(item: InstanceResult) -> InstanceResult:
        return InstanceResult(
            item.id, item.label, item.name, item.posterior, (), (), item.centroid_lps_mm,
            item.volume_ml, item.complete, item.cut_sides, (),
        )  # fmt: skip

    return Result(
        run_id="", model_name="", model_version="", model_hash="", package_version="", device="",
        scan_backend="", modality=result.modality, seconds={}, shape=result.shape,
        spacing_mm=result.spacing_mm, origin_lps_mm=result.origin_lps_mm,
        direction_lps=result.direction_lps, instances=tuple(map(plain, result.instances)),
        labelings=(), ambiguous=result.doubt != "none", warnings=(), level_doubt=result.doubt,
        frame_of_reference=result.frame_of_reference,
    )  # fmt: skip


def _labels_and_result(path: Path) -> tuple[Volume, Result | None]:
    """Return the labels of another scan, and their result if it belongs to them.

    Raises:
        UserError: As `read_other_scan`.
    """
    labels, result_path = _files(path)
    volume = read_vertebra_labels(labels).volume
    result = None if result_path is None else read_result(result_path)
    why = "" if result is None else why_other(result, volume, corrected=True)
    if why and labels != path:
        raise UserError(
            f"{labels.name} does not belong to {result_path.name}: {why}.",
            "Give the labels that were written with it.",
        )
    # Labels may lie beside the result of another run.
    return volume, None if why else result


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
