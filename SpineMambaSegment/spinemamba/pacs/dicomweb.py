"""Client of an archive with DICOMweb: search (QIDO-RS), fetch (WADO-RS), store (STOW-RS).

DICOM PS3.18. Only identifiers, modality and counts are read from answers to a search; names of
patients in them are neither kept nor shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from spinemamba.common.errors import Code, UserError
from spinemamba.pacs.multipart import DICOM, body_of, parts_of
from spinemamba.protocol.remote.http_connection import Answer, Connection, RefusedError
from spinemamba.protocol.remote.retries import Retries

_MODALITY, _STUDY, _SERIES, _INSTANCE = "00080060", "0020000D", "0020000E", "00080018"
_SERIES_NUMBER, _COUNT = "00200011", "00201209"
_FAILED, _REASON = "00081198", "00081197"

_JSON = "application/dicom+json"
_PAGE = 200
"""Entries of one answer to a search."""

_MOST_ENTRIES = 100_000
_MOST_JSON_BYTES = 64 << 20
_MOST_INSTANCE_BYTES = 2 << 30
_MOST_ERROR_BYTES = 1 << 16
_UID = re.compile(r"[0-9.]{1,64}")
_NOT_ACCEPTABLE = 406
_NO_CONTENT = 204


@dataclass(frozen=True)
class ArchivedSeries:
    """A series in the archive.

    Attributes:
        study_uid: StudyInstanceUID.
        uid: SeriesInstanceUID.
        modality: DICOM modality.
        number: SeriesNumber as text; empty if absent.
        count: Number of its instances; None if the archive does not say it.
    """

    study_uid: str
    uid: str
    modality: str
    number: str = ""
    count: int | None = None


class DicomWeb:
    """An archive.

    Args:
        connection: Connection to the root of its DICOMweb service.
        retries: Attempts at each request.
    """

    def __init__(self, connection: Connection, retries: Retries):
        self._connection, self._retries = connection, retries
        self._any_syntax = True

    def studies(self, first_day: str, modality: str) -> list[str]:
        """Return the UIDs of the studies since a day that have a series of a modality.

        Args:
            first_day: Such as "20261130".
            modality: DICOM modality.

        Raises:
            UserError: If the archive cannot be searched.
        """
        wanted = {"StudyDate": f"{first_day}-", "ModalitiesInStudy": modality}
        found = self._search("/studies", wanted)
        return list(dict.fromkeys(filter(None, (_uid(entry, _STUDY) for entry in found))))

    def series(self, study_uid: str) -> list[ArchivedSeries]:
        """Return the series of a study.

        Raises:
            UserError: If the archive cannot be searched.
        """
        out = []
        for entry in self._search(f"/studies/{_checked(study_uid)}/series", {}):
            if uid := _uid(entry, _SERIES):
                count = _text(entry, _COUNT)
                number = int(count) if count.isdecimal() else None
                modality = _text(entry, _MODALITY).upper()
                digits = _text(entry, _SERIES_NUMBER)
                out.append(ArchivedSeries(study_uid, uid, modality, digits, number))
        return out

    def has_series(self, study_uid: str, series_uid: str) -> bool:
        """Return whether a study has a series.

        Raises:
            UserError: If the archive cannot be searched.
        """
        wanted = {"SeriesInstanceUID": _checked(series_uid)}
        found = self._search(f"/studies/{_checked(study_uid)}/series", wanted)
        # Some archives ignore what they do not support, and answer with all series.
        return any(_uid(entry, _SERIES) == series_uid for entry in found)

    def instances(self, series: ArchivedSeries) -> list[str]:
        """Return the UIDs of the instances of a series, sorted.

        Raises:
            UserError: If the archive cannot be searched.
        """
        found = self._search(f"{_path(series)}/instances", {})
        return sorted(set(filter(None, (_uid(entry, _INSTANCE) for entry in found))))

    def instance(self, series: ArchivedSeries, uid: str) -> bytes:
        """Return a DICOM file, in the transfer syntax that the archive has, if it permits it.

        Raises:
            UserError: If it cannot be fetched.
        """
        path = f"{_path(series)}/instances/{_checked(uid)}"
        return self._retries.run(lambda: self._fetched(path))

    def store(self, study_uid: str, file: bytes) -> None:
        """Store a DICOM file.

        Raises:
            UserError: If the archive does not accept it.
        """
        body, content_type = body_of([file])
        headers = {"Content-Type": content_type, "Accept": _JSON}
        path = f"/studies/{_checked(study_uid)}"

        def send() -> None:
            answer = self._connection.request("POST", path, headers, body)
            # An archive answers 409 if it has stored none, and 202 if it has stored some.
            text = answer.body(_MOST_ERROR_BYTES)
            if reasons := _failures(text):
                raise UserError(
                    f"The archive did not store the DICOM SEG (failure reason {reasons}).",
                    "Ask its administrator whether it accepts DICOM SEG from this user.",
                    Code.SERVER_REFUSED,
                )
            self._check(answer, "store")

        self._retries.run(send)

    def _fetched(self, path: str) -> bytes:
        answer = self._get(path, self._accept())
        if answer.status == _NOT_ACCEPTABLE and self._any_syntax:
            answer.drop()
            self._any_syntax = False
            answer = self._get(path, self._accept())
        self._check(answer, "send")
        body = answer.body(_MOST_INSTANCE_BYTES)
        try:
            (file,) = parts_of(body, answer.headers.get("content-type", ""))
        except ValueError:
            raise UserError(
                "The archive sent an image in a form that is not DICOMweb.",
                "Check that the address is the root of its DICOMweb service.",
                Code.SERVER_REFUSED,
            ) from None
        return file

    def _accept(self) -> str:
        kind = f'multipart/related; type="{DICOM}"'
        return f"{kind}; transfer-syntax=*" if self._any_syntax else kind

    def _get(self, path: str, accept: str) -> Answer:
        return self._connection.request("GET", path, {"Accept": accept})

    def _search(self, path: str, wanted: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return all entries of a search, page by page."""
        found: list[dict[str, Any]] = []
        for offset in range(0, _MOST_ENTRIES, _PAGE):
            query = urlencode({**wanted, "limit": _PAGE, "offset": offset}, quote_via=quote)
            page = self._retries.run(lambda query=query: self._page(f"{path}?{query}"))
            # An archive that ignores the offset sends the same page again.
            new = [entry for entry in page if entry not in found[-_PAGE:]]
            found += new
            if len(page) < _PAGE or not new:
                break
        return found

    def _page(self, path: str) -> list[dict[str, Any]]:
        answer = self._get(path, _JSON)
        self._check(answer, "search")
        text = answer.body(_MOST_JSON_BYTES)
        if answer.status == _NO_CONTENT or not text.strip():
            return []
        try:
            entries = json.loads(text)
        except ValueError:
            entries = None
        if not isinstance(entries, list):
            raise UserError(
                "The archive answers a search in a form that is not DICOMweb.",
                "Check that the address is the root of its DICOMweb service.",
                Code.SERVER_REFUSED,
            )
        return [entry for entry in entries if isinstance(entry, dict)]

    def _check(self, answer: Answer, verb: str) -> None:
        """Raise the error of an answer; its text is not shown, because it may name a patient.

        Raises:
            RefusedError: If the request failed.
        """
        if answer.is_good:
            return
        answer.drop()
        remedies = {
            401: "Give a file with a valid token or password.",
            403: "Ask the administrator of the archive for the permission.",
            404: "Check the address and the UID.",
        }
        raise RefusedError(
            answer.status,
            f"The archive did not {verb}: HTTP status {answer.status}.",
            remedies.get(answer.status, "See the log of the archive."),
            answer.retry_after_s,
        )


def _path(series: ArchivedSeries) -> str:
    return f"/studies/{_checked(series.study_uid)}/series/{_checked(series.uid)}"


def _checked(uid: str) -> str:
    """Return a UID that may be part of an address.

    Raises:
        UserError: If it is not a UID.
    """
    if not _UID.fullmatch(uid) or ".." in uid:
        raise UserError("This is not a DICOM UID.", "Give a UID of digits and dots.")
    return uid


def _uid(entry: Mapping[str, Any], tag: str) -> str:
    """Return a UID in an entry; empty if it is absent or invalid."""
    text = _text(entry, tag)
    return text if _UID.fullmatch(text) and ".." not in text else ""


def _text(entry: Mapping[str, Any], tag: str) -> str:
    """Return the first value of an attribute in DICOM JSON as text; empty if it is absent."""
    element = entry.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    first = values[0] if isinstance(values, list) and values else None
    return str(first).strip() if isinstance(first, str | int | float) else ""


def _failures(text: bytes) -> str:
    """Return the failure reasons in the answer of STOW-RS; empty if there are none."""
    try:
        answer = json.loads(text)
    except ValueError:
        return ""
    items = answer.get(_FAILED, {}) if isinstance(answer, dict) else {}
    values = items.get("Value") if isinstance(items, dict) else None
    failed = [item for item in values or () if isinstance(item, dict)]
    return ", ".join(sorted(set(_reasons(failed))))


def _reasons(failed: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the reason of each failed item, as in PS3.4 CC.2.3."""
    for item in failed:
        reason = _text(item, _REASON)
        yield f"0x{int(reason):04X}" if reason.isdecimal() else "not given"
