"""A DICOMweb archive in memory, which can fail in the ways of a real one."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

TAGS = {
    "0020000D": "StudyInstanceUID",
    "0020000E": "SeriesInstanceUID",
    "00080018": "SOPInstanceUID",
    "00080060": "Modality",
    "00200011": "SeriesNumber",
    "00100010": "PatientName",
}


class Archive:
    """The stored files, and how the archive fails.

    Attributes:
        files: DICOM data sets and bytes by SOPInstanceUID.
        requests: Method and path of each request, with its header Authorization.
        faults: Answers to the next requests: a status, "cut" (the connection ends in the middle),
            "drop" (without an answer), "hang" (no answer before `hanging` is set), "html", or ""
            for the right answer.
        only: The faults concern requests whose method and path contain this text.
        refuses: Failure reason of STOW-RS, or 0.
    """

    def __init__(self) -> None:
        self.files: dict[str, tuple[Any, bytes]] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.faults: list[int | str] = []
        self.only = ""
        self.refuses = 0
        self.address = ""
        self.hanging = threading.Event()

    def add(self, data: bytes) -> None:
        """Store a file."""
        import pydicom

        dataset = pydicom.dcmread(io.BytesIO(data))
        self.files.setdefault(str(dataset.SOPInstanceUID), (dataset, data))

    def add_folder(self, folder: Path) -> None:
        """Store the files of a folder."""
        for path in folder.iterdir():
            self.add(path.read_bytes())

    def modalities(self) -> list[str]:
        """Return the modality of each series, sorted."""
        return sorted({d.SeriesInstanceUID: d.Modality for d, _ in self.files.values()}.values())

    def count(self, text: str) -> int:
        """Return the number of requests whose method and path contain a text."""
        return sum(text in f"{method} {path}" for method, path, _ in self.requests)


@contextmanager
def archive() -> Iterator[Archive]:
    """Run an archive on the loopback interface."""
    made = Archive()

    class Handler(_Handler):
        archive = made

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.address = f"http://127.0.0.1:{server.server_address[1]}/dicom-web"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.hanging.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    archive: Archive
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        if self._fails():
            return
        parts = urlsplit(self.path)
        names = parts.path.removeprefix("/dicom-web/").split("/")
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        known = dict(zip(names[::2], names[1::2], strict=False))
        if len(names) == 6:
            self._send_file(self.archive.files[known["instances"]][1])
            return
        level = {"studies": 0, "series": 1, "instances": 2}[names[-1]]
        key = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")[level]
        found: dict[str, list[Any]] = {}
        for dataset, _ in self.archive.files.values():
            same_study = known.get("studies", dataset.StudyInstanceUID) == dataset.StudyInstanceUID
            inside = known.get("series", dataset.SeriesInstanceUID) == dataset.SeriesInstanceUID
            wanted = query.get("SeriesInstanceUID", dataset.SeriesInstanceUID)
            if same_study and inside and wanted == dataset.SeriesInstanceUID:
                found.setdefault(str(dataset[key].value), []).append(dataset)
        first, most = int(query.get("offset", 0)), int(query.get("limit", 1000))
        entries = [self._entry(group, level) for group in found.values()][first : first + most]
        self._send(200 if entries else 204, json.dumps(entries).encode() if entries else b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._fails():
            return
        if self.archive.refuses:
            item = {"00081197": {"vr": "US", "Value": [self.archive.refuses]}}
            answer = {"00081198": {"vr": "SQ", "Value": [item]}}
            self._send(409, json.dumps(answer).encode())
            return
        start = body.index(b"\r\n\r\n") + 4
        self.archive.add(body[start : body.rindex(b"\r\n--")])
        self._send(200, b"{}")

    def _entry(self, group: list[Any], level: int) -> dict[str, Any]:
        entry = {tag: {"vr": "UI", "Value": [str(group[0][k].value)]} for tag, k in TAGS.items()}
        if level == 1:
            entry["00201209"] = {"vr": "IS", "Value": [len(group)]}
        return entry

    def _fails(self) -> bool:
        request = (self.command, self.path, self.headers.get("Authorization", ""))
        self.archive.requests.append(request)
        applies = self.archive.only in f"{self.command} {self.path}"
        fault = self.archive.faults.pop(0) if applies and self.archive.faults else ""
        if fault == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"half")
            self.close_connection = True
        elif fault == "drop":
            self.close_connection = True
        elif fault == "hang":
            self.archive.hanging.wait(60)
            self.close_connection = True
        elif fault == "html":
            self._send(200, b"<html>PHANTOM-7</html>")
        elif fault:
            self._send(int(fault), b"PHANTOM-7 is not allowed")
        return bool(fault)

    def _send_file(self, data: bytes) -> None:
        body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n--b--"
        self._send(200, body, 'multipart/related; type="application/dicom"; boundary=b')

    def _send(self, status: int, body: bytes, kind: str = "application/dicom+json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
