"""Certificates for tests of TLS, made by OpenSSL."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_CONFIG = """
[ca]
default_ca = own
[own]
database = {folder}/index.txt
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = any
x509_extensions = names
unique_subject = no
[any]
commonName = supplied
[names]
subjectAltName = {name}
"""
_EXPIRED = ("-startdate", "20200101000000Z", "-enddate", "20200201000000Z")
_VALID = ("-days", "2")


def make_certificate(
    folder: Path, name: str = "IP:127.0.0.1", *, expired: bool = False
) -> tuple[Path, Path]:
    """Return a certificate signed by itself and its key, or skip the test without OpenSSL.

    Args:
        folder: Folder for its files; created.
        name: Subject alternative name.
        expired: Whether it is not valid any more.
    """
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("openssl is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key, request = (folder / f for f in ("cert.pem", "key.pem", "request.pem"))
    (folder / "index.txt").touch()
    (folder / "serial").write_text("01\n")
    (folder / "ca.cnf").write_text(_CONFIG.format(folder=folder, name=name))
    subject = ("-subj", "/CN=spinemamba-test")
    for command in (
        ("req", "-new", "-newkey", "rsa:2048", "-nodes", *subject, "-out", request, "-keyout", key),
        ("ca", "-batch", "-selfsign", "-notext", "-config", folder / "ca.cnf", "-keyfile", key,
         "-in", request, "-out", certificate, *(_EXPIRED if expired else _VALID)),
    ):  # fmt: skip
        subprocess.run([openssl, *map(str, command)], check=True, capture_output=True)
    key.chmod(0o600)
    return certificate, key
