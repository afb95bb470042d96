"""The output folder of a cohort with real images and label maps, made without networks."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from synthetic_labels import result_of

from spinemamba.anatomy.labels import BY_VALUE, LABELS
from spinemamba.anatomy.numbering_rules import shift
from spinemamba.common.errors import UserError
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.read import read_labels, read_volume
from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import write_image
from spinemamba.jobs.cohort_case import CohortCase, listed
from spinemamba.protocol.cohort import CASES, CaseRecord, CaseSummary, Fingerprint, read_record
from spinemamba.protocol.flags import Flag
from spinemamba.protocol.job import CohortJob
from spinemamba.protocol.result import LabelingResult, Result, read_result

CHEST = ("lidc/lidc0001_ct.nii.gz", "lidc/lidc0001_seg.nii.gz")
SOURCES = (
    CHEST,
    ("totalsegmentator/s0328_bone_ct.nii.gz", "totalsegmentator/s0328_seg.nii.gz"),
    ("verse/verse005_ct.nii.gz", "verse/verse005_seg.nii.gz"),
    ("verse/verse008_ct.nii.gz", "verse/verse008_seg.nii.gz"),
    ("verse/verse012_ct.nii.gz", "verse/verse012_seg.nii.gz"),
)
"""Image and label map of each patient, below the folder of the data."""

_FLAGS = (
    Flag("volume_outlier", 0.6, "Its volume is 0.6 of what its neighbours suggest."),
    Flag("two_in_one", 0.9, "Perhaps two vertebrae: a disc space crosses it."),
    Flag("low_margin", 0.1, "Another level is nearly as likely by appearance."),
)
_SHA = "0" * 64
_HASH_PARTS = 64


def write_real_cohort(
    folder: Path, data: Path, count: int, sources: Sequence[tuple[str, str]] = SOURCES
) -> Path:
    """Write the results of a cohort; return its output folder.

    Each patient is written once and mirrored once. Further cases are copies of these with another
    doubt and other flags: their files have the size of real ones.

    Args:
        folder: Folder for ``in`` and ``out``.
        data: Folder of the public data.
        count: Number of cases.
        sources: Image and label map of each patient.
    """
    (folder / "in").mkdir(parents=True)
    written = [
        _write_patient(folder, data, names, is_mirrored=is_mirrored)
        for is_mirrored in (False, True)[: 1 + (count > len(sources))]
        for names in sources
    ]
    doubts = np.linspace(0.42, 0.0, count)
    for k, doubt in enumerate(doubts):
        _copy_case(written[k % len(written)], f"patient-{k:02d}_ct", float(doubt), k)
    for path in written:
        shutil.rmtree(path)
    return folder / "out"


def _write_patient(folder: Path, data: Path, names: tuple[str, str], *, is_mirrored: bool) -> Path:
    """Write the results of a patient; return the folder of the case."""
    image, labels = (
        canonical(read(data / name))[0]
        for read, name in zip((read_volume, read_labels), names, strict=True)
    )
    known = np.isin(labels.array, [label.value for label in LABELS])
    labels = labels.with_array(np.where(known, labels.array, 0).astype(np.uint8))
    if is_mirrored:
        image, labels = _mirrored(image), _mirrored(labels)
    levels = tuple(label.name for label in LABELS if (labels.array == label.value).any())
    name = f"{Path(names[0]).name.split('.')[0]}{'_mirrored' if is_mirrored else ''}"
    path, out = folder / "in" / f"{name}.nii.gz", folder / "out" / CASES / name
    out.parent.mkdir(parents=True, exist_ok=True)
    write_image(image, path)
    job = CohortJob(
        path, out, case=name, source=path.name, fingerprint=Fingerprint(_SHA, _SHA, _SHA),
        measurements=False,
    )  # fmt: skip
    done = replace(result_of(labels, levels), run_id=job.fingerprint.run_id)
    CohortCase.of(job, image, SimpleNamespace(labels=labels, result=done)).write()
    return out


def _mirrored(volume: Volume) -> Volume:
    """Return a volume with its left and right exchanged."""
    return volume.with_array(np.ascontiguousarray(volume.array[:, :, ::-1]))


def _copy_case(source: Path, name: str, doubt: float, number: int) -> None:
    """Copy the folder of a case, with another name, doubt and flags."""
    out = source.with_name(name)
    shutil.copytree(source, out)
    record: CaseRecord = read_record(out)
    fingerprint = Fingerprint(f"{number:0{_HASH_PARTS}x}", _SHA, _SHA)
    files = {}
    for role, file in record.files.items():
        path = out / file.name
        files[role] = path.rename(out / file.name.replace(record.case, name))
    result = _changed(read_result(files["result"]), doubt, number)
    replace(result, run_id=fingerprint.run_id).write(files["result"])
    replace(
        record, case=name, input=f"scans/{name}.nii.gz", fingerprint=fingerprint,
        summary=CaseSummary.of(result), files=listed(files, out),
    ).write(out)  # fmt: skip


def _changed(result: Result, doubt: float, number: int) -> Result:
    """Return a result with a doubt, another naming for each direction, and some flags."""
    names = tuple(BY_VALUE[item.label].name for item in result.instances)
    others = []
    for by in (-1, 1):
        try:
            others.append(LabelingResult(shift(names, by), doubt / 2))
        except UserError:
            continue
    flagged = {(3 * number + k) % len(names): flag for k, flag in enumerate(_FLAGS[: number % 4])}
    instances = tuple(
        replace(item, posterior=1 - doubt, flags=(flagged[k],) if k in flagged else ())
        for k, item in enumerate(result.instances)
    )
    return replace(
        result, instances=instances, labelings=(LabelingResult(names, 1 - doubt), *others),
        ambiguous=doubt > 0.1,
    )  # fmt: skip
