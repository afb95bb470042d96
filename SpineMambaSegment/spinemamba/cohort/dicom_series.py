"""The DICOM series of a folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from spinemamba.cohort.found import FoundCase, Skipped
from spinemamba.common.atomic_files import sha256
from spinemamba.imaging.formats.dicom_header import (
    SERIES_NUMBER,
    SERIES_UID,
    Header,
    read_header,
)
from spinemamba.imaging.read import LEAST_VOXELS

_IMAGE_UID = "0008|0018"
_UID_DIGITS = 8


def series_of(
    folder: Path, files: Iterable[Path], source: str, skipped: list[Skipped]
) -> Iterator[FoundCase]:
    """Yield a case for each CT or MR series among the files of a folder.

    A folder in which no file has a readable image is a case too: reading it gives the reason.

    Args:
        folder: The folder.
        files: DICOM files in it.
        source: The folder as the list shows it.
        skipped: Gets the series that are not volumes, and damaged files.
    """
    files = list(files)
    headers = [header for header in map(read_header, files) if header is not None]
    if not headers:
        yield FoundCase(source, folder, tuple(files), "DICOM without images")
        return
    if damaged := len(files) - len(headers):
        word = "file" if damaged == 1 else "files"
        skipped.append(Skipped(source, f"{damaged} DICOM {word} without a readable image"))
    grouped: dict[str, list[Header]] = {}
    for header in headers:
        grouped.setdefault(header.text(SERIES_UID), []).append(header)
    volumes = {uid: series for uid, series in grouped.items() if not why_no_volume(series)}
    for uid, series in grouped.items():
        shown = source if len(volumes) == 1 and uid in volumes else f"{source}/{_label(series)}"
        if why := why_no_volume(series):
            skipped.append(Skipped(shown, why))
        else:
            yield _case(series, shown)


def series_with(path: Path, source: str) -> FoundCase:
    """Return the case of the series that a file belongs to."""
    header = read_header(path)
    if header is None:
        return FoundCase(source, path, (path,), "DICOM without images")
    uid = header.text(SERIES_UID)
    others = (read_header(p) for p in sorted(path.parent.iterdir()) if p.is_file())
    return _case([h for h in others if h is not None and h.text(SERIES_UID) == uid], source)


def without_scattered(cases: Iterable[FoundCase], skipped: list[Skipped]) -> list[FoundCase]:
    """Leave out copies of a series, and series whose slices lie in several folders.

    Half of a series would be segmented as if it were a short scan.
    """
    by_series: dict[str, list[FoundCase]] = {}
    for case in cases:
        by_series.setdefault(case.series_uid, []).append(case)
    kept = by_series.pop("", [])
    for group in by_series.values():
        first, *others = group
        if not others:
            kept.append(first)
            continue
        # Images without a UID cannot be told apart.
        known = "" not in first.image_uids
        if known and all(case.image_uids == first.image_uids for case in others):
            kept.append(first)
            skipped += [Skipped(case.source, f"a copy of {first.source}") for case in others]
        else:
            places = ", ".join(case.source for case in group)
            skipped.append(Skipped(places, "one series in several folders; put it into one"))
    return kept


def why_no_volume(series: Sequence[Header]) -> str:
    """Return why a series is not a volume to segment, by its headers; empty if it may be."""
    modalities = sorted({header.modality for header in series})
    images = [header for header in series if header.is_image]
    if not images:
        only_localizers = all(header.is_localizer for header in series)
        return "a localizer" if only_localizers else f"not CT or MR but {', '.join(modalities)}"
    slices = sum(max(1, header.frames) for header in images)
    if slices < LEAST_VOXELS:
        return f"only {slices} slices"
    return ""


def _case(series: Sequence[Header], source: str) -> FoundCase:
    images = [header for header in series if header.is_image] or list(series)
    count = sum(max(1, header.frames) for header in images)
    files = tuple(header.path for header in series)
    kind = f"DICOM {images[0].modality}"
    return FoundCase(
        source,
        images[0].path,
        files,
        kind if count > 1 else f"{kind} file",
        series_uid=series[0].text(SERIES_UID),
        image_uids=frozenset(header.text(_IMAGE_UID) for header in images),
    )


def _label(series: Sequence[Header]) -> str:
    """Return a name of a series without data of the patient: its number and part of its UID."""
    number = series[0].text(SERIES_NUMBER)
    digits = number if number.isdigit() else "x"
    return f"series-{digits}-{_short(series[0].text(SERIES_UID))}"


def _short(uid: str) -> str:
    """Return a short identifier of a UID; UIDs differ at their ends, and may be long."""
    return sha256(uid.encode("utf-8", "surrogatepass"))[:_UID_DIGITS]
