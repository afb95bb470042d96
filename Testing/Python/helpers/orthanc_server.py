"""Orthanc with its DICOMweb plug-in, in a folder of its own, on the loopback interface."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_START_S = 30.0
USER, PASSWORD = "reader", "made-up-1"


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def orthanc(folder: Path, *, password: bool = False) -> Iterator[str]:
    """Run an empty Orthanc; yield its address.

    Args:
        folder: Receives its configuration and storage.
        password: Whether it asks for `USER` and `PASSWORD`.
    """
    program = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if program is None or not _PLUGIN.exists():
        pytest.skip("Orthanc is missing (Debian packages orthanc and orthanc-dicomweb)")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = {
        "Name": "test",
        "HttpPort": port,
        "HttpBindAddresses": ["127.0.0.1"],
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": password,
        "RegisteredUsers": {USER: PASSWORD},
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(_PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([program, str(path)], stdout=log, stderr=log, cwd=folder)
    try:
        _wait(process, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(_START_S)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline_s = time.monotonic() + _START_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"Orthanc did not start (exit code {process.poll()})")


def upload(address: str, folder: Path) -> None:
    """Send the DICOM files of a folder with Orthanc's own interface."""
    for path in sorted(folder.iterdir()):
        request = urllib.request.Request(f"{address}/instances", path.read_bytes(), method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert json.load(answer)["Status"] == "Success"
