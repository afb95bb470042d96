"""Uploads that are wrong, harmful, slow or broken off; the server answers and goes on."""

from __future__ import annotations

import gzip
import json
import shutil
import socket
import struct
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from server_process import RunningServer, nrrd, request_body

from spinemamba.common.errors import UserError
from spinemamba.imaging.read import read_volume
from spinemamba.protocol.remote.formats import JOB_TYPE, JOBS
from spinemamba.server.errors import RefusedError
from spinemamba.server.image_check import check_image

pytest.importorskip("fastapi", reason="the extra 'server' is not installed")
pytest.importorskip("uvicorn", reason="the extra 'server' is not installed")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")

MOST_BYTES = 2_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    """A server with small limits for all tests of this file."""
    options = {
        "limits": {
            "upload_bytes": MOST_BYTES,
            "voxels": 900_000,
            "jobs_per_client": 6,
            "queued": 8,
        },
        "timeouts": {"header_s": 1.0, "idle_s": 1.0, "grace_s": 0.5, "least_bytes_per_s": 50_000.0},
        "rates": {"uploads": 3},
    }
    with RunningServer(tmp_path_factory.mktemp("server"), options, ("anna", "ben", "cleo")) as run:
        yield run


@pytest.fixture(autouse=True)
def goes_on(request: pytest.FixtureRequest):
    """Check after each test that the server works and has erased everything."""
    yield
    if "server" not in request.fixturenames:
        return
    server = request.getfixturevalue("server")
    job = server.send(client="cleo").json["id"]
    assert server.wait(job, client="cleo")["state"] == "done"
    assert server.ask("DELETE", f"{JOBS}/{job}", "cleo").status == 204
    server.wait_for_no_files()
    assert len(server.children()) == 1
    assert "Traceback" not in (server.folder / "server.log").read_text()


def post(server: RunningServer, body: bytes, **headers: str):
    """Send a body as a job."""
    return server.ask("POST", JOBS, body=body, **{"Content_Type": JOB_TYPE, **headers})


def with_line(text: str, data: bytes = b"") -> bytes:
    """Return a body with any first line."""
    return text.encode() + b"\n" + data


def body_of(data: bytes, name: str = "image.nrrd", **options) -> bytes:
    """Return the body of a request with one image."""
    return request_body({name: data}, **options)


GOOD = nrrd()
HUGE = GOOD.replace(b"8 8 8", b"900 900 900")
FRAMES = GOOD.replace(b"on: 3\nsizes: 8 8 8", b"on: 4\nsizes: 8 8 4 2").replace(
    b"(0,0,2)", b"(0,0,2) none"
)
OTHER = {"image.nrrd": GOOD, "other_scan.nrrd": GOOD}
FILE = '{"role": "image", "ending": ".nrrd", "bytes": 5}'
CASES = {
    "empty": (b"", 400),
    "no line": (b"x" * 100, 400),
    "long line": (b"x" * 70_000 + b"\n", 400),
    "not JSON": (with_line("{"), 422),
    "not UTF-8": (b"\xff\xfe\n", 422),
    "a list": (with_line("[]"), 422),
    "nested": (with_line("[" * 20_000), 422),
    "twice": (with_line('{"schema": 1, "schema": 1}'), 422),
    "no kind": (with_line('{"schema": 1, "files": []}'), 422),
    "other schema": (with_line('{"schema": 99, "kind": "segment", "files": []}'), 422),
    "no file": (with_line('{"schema": 1, "kind": "segment", "files": []}'), 422),
    "two images": (
        with_line(f'{{"schema": 1, "kind": "segment", "files": [{FILE}, {FILE}]}}', b"x" * 10),
        422,
    ),
    "negative size": (
        with_line(
            '{"schema": 1, "kind": "segment", "files": '
            '[{"role": "image", "ending": ".nrrd", "bytes": -1}]}'
        ),
        422,
    ),
    "too few bytes": (body_of(GOOD)[:-1], 400),
    "too many bytes": (body_of(GOOD) + b"x", 400),
    "unknown option": (body_of(GOOD, colour=1), 422),
    "wrong type": (body_of(GOOD, keep_pieces="yes"), 422),
    "NaN": (with_line('{"schema": 1, "kind": "resegment", "point_lps_mm": [NaN, 1, 1]}'), 422),
    "path as role": (body_of(GOOD, "../../etc.nrrd"), 422),
    "path as ending": (body_of(GOOD, "image./../../x.nrrd"), 422),
    "path as model": (body_of(GOOD, model="/etc"), 422),
    "path as bundled model": (body_of(GOOD, model="../weights/starter"), 422),
    "path as format": (body_of(GOOD, labels_ending="/../x.nrrd"), 422),
    "path as request": (body_of(GOOD, request_id="../" * 10), 422),
    "device of the client": (body_of(GOOD, device="cuda:7"), 422),
    "output of the client": (body_of(GOOD, output="/etc/x"), 422),
    "wrong hash": (
        body_of(GOOD).replace(
            b'"role": "image"', b'"role": "image", "sha256": "' + b"0" * 64 + b'"'
        ),
        422,
    ),
    "not an image": (body_of(b"x" * 1000), 422),
    "gzip of nothing": (body_of(gzip.compress(b""), "image.nii.gz"), 422),
    "damaged gzip": (body_of(gzip.compress(b"x" * 9000)[:-4000] + b"y" * 100, "image.nii.gz"), 422),
    "voxels elsewhere": (body_of(nrrd(header="data file: /etc/passwd\n")), 422),
    "voxels in a list": (body_of(nrrd(header="data file: LIST\nlabels.nrrd\n")), 422),
    "voxels in another file of the request": (
        request_body(
            {"labels.nrrd": GOOD, "image.nrrd": nrrd(header="data file: labels.nrrd\n")},
            "resegment",
            replaced_label=20,
        ),
        422,
    ),
    "voxels as text": (body_of(nrrd().replace(b"encoding: raw", b"encoding: text")), 422),
    "voxels as hex": (body_of(nrrd().replace(b"encoding: raw", b"encoding: hex")), 422),
    "too many voxels": (body_of(nrrd().replace(b"8 8 8", b"900 900 900")), 413),
    "overflowing sizes": (body_of(nrrd().replace(b"8 8 8", b"9" * 300 + b" 9 9")), 413),
    "no voxels": (body_of(nrrd().replace(b"8 8 8", b"0 8 8")), 422),
    "damaged result": (
        request_body({"labels.nrrd": GOOD, "result.json": b"{}"}, "relabel"),
        422,
    ),
    "result with NaN": (
        request_body({"labels.nrrd": GOOD, "result.json": b'{"schema": NaN}'}, "relabel"),
        422,
    ),
    "sequence": (body_of(FRAMES), 422),
    "huge other scan": (request_body({"image.nrrd": GOOD, "other_scan.nrrd": HUGE}), 413),
    "other result alone": (request_body({"image.nrrd": GOOD, "other_result.json": b"{}"}), 422),
    "damaged other result": (request_body({**OTHER, "other_result.json": b"{}"}), 422),
}


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_upload_is_refused_with_its_status(server: RunningServer, name: str):
    body, status = CASES[name]
    answer = post(server, body)
    assert answer.status == status, answer.body
    content = answer.json
    assert content["message"]
    assert content["remedy"]
    assert "Traceback" not in answer.body.decode()
    assert str(server.folder) not in answer.body.decode()


def raw(server: RunningServer, head: str, body: bytes = b"", seconds: float = 8.0) -> bytes:
    """Send bytes on a connection of its own, and return all bytes of the answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode("latin-1") + body)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
            if b"\r\n\r\n{" in b"".join(parts):
                break
        return b"".join(parts)


def head_of(server: RunningServer, *lines: str) -> str:
    """Return the header of a POST with these lines."""
    token = f"Authorization: Bearer {server.tokens['anna']}"
    fixed = (f"POST {JOBS} HTTP/1.1", "Host: x", token, f"Content-Type: {JOB_TYPE}")
    return "\n".join([*fixed, *lines, "", ""])


def get_of(server: RunningServer, path: str) -> bytes:
    """Return the bytes of a GET."""
    token = f"Authorization: Bearer {server.tokens['anna']}"
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{token}\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((f"Content-Length: {MOST_BYTES + 1}",), 413),
        (("Content-Length: 99999999999999999",), 413),
        (("Content-Length: " + "9" * 200,), 400),
        (("Content-Length: -5",), 400),
        (("Content-Length: 5", "Content-Length: 6"), 400),
        (("Content-Length: 5", "Transfer-Encoding: chunked"), 400),
        (("Transfer-Encoding: chunked",), 411),
        ((), 411),
    ],
)
def test_the_length_is_checked_before_the_body_is_read(server: RunningServer, lines, status):
    answer = raw(server, head_of(server, *lines))
    assert int(answer.split()[1]) == status
    assert b"Traceback" not in answer


def test_a_header_that_states_too_much_is_refused_before_the_voxels_arrive(server: RunningServer):
    image = nrrd().replace(b"8 8 8", b"900 900 900") + bytes(1_900_000 - 2048)
    body = body_of(image)
    head = head_of(server, f"Content-Length: {len(body)}")
    answer = raw(server, head, body[:1_200_000])
    assert int(answer.split()[1]) == 413


def nifti_gz(path: Path, side: int, surplus: int) -> Path:
    """Write a compressed NIfTI with more bytes than its header states."""
    image = sitk.GetImageFromArray(np.arange(side**3, dtype=np.int16).reshape(side, side, side))
    plain = path.with_name("plain.nii")
    sitk.WriteImage(image, str(plain))
    path.write_bytes(gzip.compress(plain.read_bytes() + bytes(surplus)))
    return path


def test_a_compressed_bomb_does_not_expand_beyond_its_header(tmp_path: Path):
    path = nifti_gz(tmp_path / "image.nii.gz", 8, 200_000_000)
    assert check_image(path, ".nii.gz", 1000) == 512
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="more than"):
            read_volume(path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_compressed_offset_that_costs_time_is_refused(tmp_path: Path):
    path = nifti_gz(tmp_path / "image.nii.gz", 8, 0)
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[108:112] = struct.pack("<f", 2.0**28)
    path.write_bytes(gzip.compress(bytes(data)))
    with pytest.raises(RefusedError, match="too far"):
        check_image(path, ".nii.gz", 1000)


def test_a_client_that_sends_its_header_too_slowly_is_cut_off(server: RunningServer):
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        for byte in head_of(server).encode():
            try:
                connection.sendall(bytes([byte]))
            except OSError:
                break
            time.sleep(0.05)
    assert time.monotonic() - started < 5


def test_idle_connections_are_closed(server: RunningServer):
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        assert connection.recv(1) == b""


@pytest.mark.parametrize("pause_s", [0.1, 5.0])
def test_a_body_that_arrives_too_slowly_is_refused(server: RunningServer, pause_s: float):
    body = body_of(nrrd(side=80))
    answer = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=pause_s) as connection:
        connection.sendall(
            head_of(server, f"Content-Length: {len(body)}").replace("\n", "\r\n").encode()
        )
        for start in range(0, 40_000, 1000):
            connection.sendall(body[start : start + 1000])
            try:
                answer = connection.recv(65536)
                break
            except TimeoutError:
                pass
    assert int(answer.split()[1]) == 408


def test_a_client_that_vanishes_while_sending_leaves_nothing(server: RunningServer):
    for _ in range(3):
        with server.half_upload(nrrd(side=90)):
            assert any(name.startswith("incoming/") for name in server.files())
        server.wait_for_no_files()


def test_a_client_that_vanishes_while_polling_loses_nothing(server: RunningServer):
    job = server.send("segment s=0.5").json["id"]
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(get_of(server, f"{JOBS}/{job}"))
    assert server.wait(job)["state"] == "done"
    assert server.ask("DELETE", f"{JOBS}/{job}").status == 204


def test_a_broken_download_can_be_repeated(server: RunningServer):
    image = nrrd(side=90)
    job = server.send(image=image).json["id"]
    server.wait(job)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        token = server.tokens["anna"]
        head = (
            f"GET {JOBS}/{job}/result HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
        connection.sendall(head.encode())
        connection.recv(1000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    answer = server.ask("GET", f"{JOBS}/{job}/result/labels")
    assert answer.body == image
    # Not even a part of it counts as fetched.
    time.sleep(0.2)
    assert server.wait(job)["expires_s"] > 1000
    assert server.ask("DELETE", f"{JOBS}/{job}").status == 204


def test_a_client_that_does_not_take_its_result_is_cut_off(server: RunningServer):
    job = server.send(image=nrrd(side=90)).json["id"]
    server.wait(job)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        token = server.tokens["anna"]
        head = (
            f"GET {JOBS}/{job}/result HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
        connection.sendall(head.encode())
        time.sleep(2.5)
    assert server.ask("DELETE", f"{JOBS}/{job}").status == 204


def test_lines_of_clients_and_of_the_server_are_bounded(server: RunningServer):
    first = server.send("segment stop").json["id"]
    server.wait(first, stage="segment")
    sent = [server.send() for _ in range(6)]
    assert [answer.status for answer in sent] == [201] * 5 + [429]
    others = [server.send(client="ben") for _ in range(4)]
    assert [answer.status for answer in others] == [201] * 3 + [503]
    assert int(others[-1].headers["retry-after"]) > 0
    for answer, client in (*((a, "anna") for a in sent[:5]), *((a, "ben") for a in others[:3])):
        assert server.ask("DELETE", f"{JOBS}/{answer.json['id']}", client).status == 204
    assert server.ask("DELETE", f"{JOBS}/{first}").status == 204


def test_uploads_at_once_are_bounded(server: RunningServer):
    image = nrrd(side=90)
    with server.half_upload(image), server.half_upload(image), server.half_upload(image):
        assert server.send().status == 429
        job = server.send(client="ben")
        assert job.status == 201
    server.wait(job.json["id"], client="ben")
    server.ask("DELETE", f"{JOBS}/{job.json['id']}", "ben")


SMALL_DISK = 'mkdir -p "$0" && mount -t tmpfs -o size=1200k none "$0" && exec "$@"'


def test_a_full_disk_is_refused_and_the_service_goes_on(tmp_path: Path):
    state = tmp_path / "s" / "state"
    prefix = ("unshare", "--map-root-user", "--mount", "sh", "-c", SMALL_DISK, str(state))
    if (
        shutil.which("unshare") is None
        or subprocess.run(
            [*prefix[:-1], str(tmp_path / "trial"), "true"], check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("no small disk can be mounted here")
    options = {"timeouts": {"idle_s": 20.0}}
    with RunningServer(tmp_path / "s", options, prefix=prefix) as server:
        assert server.send(image=nrrd(side=90)).status == 507
        # Room for the image, but not for its result.
        failed = server.wait(server.send(image=nrrd(side=60)).json["id"])
        assert failed["failure"]["code"] == "DISK_FULL"
        assert server.wait(server.send().json["id"])["state"] == "done"
        # Two uploads that fit alone.
        with server.half_upload(nrrd(side=70)) as first:
            assert server.send("segment stop", image=nrrd(side=70), client="ben").status == 201
            answer = first.finish()
        assert answer.startswith(b"HTTP/1.1 507")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "DISK_FULL"
        assert server.ask("GET", "/v1/health", None).status == 200
