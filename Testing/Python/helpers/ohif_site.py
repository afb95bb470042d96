"""OHIF and an archive behind one address on the loopback interface, as a hospital's proxy does."""

from __future__ import annotations

import http.client
import mimetypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

FOLDER = "SPINEMAMBA_OHIF"
"""Environment variable that names the folder ``dist`` of the npm package @ohif/app."""

_CONFIG = """
window.config = {
  routerBasename: null, extensions: [], modes: [], showStudyList: true,
  maxNumberOfWebWorkers: 2, showLoadingIndicator: true, defaultDataSourceName: 'dicomweb',
  investigationalUseDialog: { option: 'never' },
  dataSources: [{
    namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'dicomweb',
    configuration: {
      friendlyName: 'test', name: 'test', wadoUriRoot: '/dicom-web', qidoRoot: '/dicom-web',
      wadoRoot: '/dicom-web', imageRendering: 'wadors', thumbnailRendering: 'wadors',
      enableStudyLazyLoad: true, supportsFuzzyMatching: false, supportsWildcard: true,
    },
  }],
};
"""
_HOP = ("connection", "transfer-encoding", "content-length", "keep-alive")


def ohif_folder() -> Path:
    """Return the folder of the viewer; skip where it is missing."""
    folder = Path(os.environ.get(FOLDER, ""))
    if not os.environ.get(FOLDER) or not (folder / "index.html").is_file():
        pytest.skip(f"OHIF is missing: unpack the npm package @ohif/app, and set {FOLDER} to dist")
    return folder


@contextmanager
def ohif(folder: Path, archive: str) -> Iterator[str]:
    """Serve the viewer, and forward /dicom-web to an archive; yield the address.

    Args:
        folder: Folder of the viewer.
        archive: Address of the archive.
    """

    class Handler(_Handler):
        root, target = folder, urlsplit(archive).netloc

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    # The viewer breaks requests off whose answers it no longer needs.
    server.handle_error = lambda request, address: None
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    root: Path
    target: str

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.startswith("/dicom-web"):
            self._forward()
            return
        if path == "/app-config.js":
            self._send(200, _CONFIG.encode(), "text/javascript")
            return
        file = (self.root / path.lstrip("/")).resolve()
        inside = file.is_file() and self.root.resolve() in file.parents
        # The addresses of the viewer are all answered by the same page.
        file = file if inside else self.root / "index.html"
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        kind = "application/wasm" if file.suffix == ".wasm" else kind
        self._send(200, file.read_bytes(), kind)

    def _forward(self) -> None:
        connection = http.client.HTTPConnection(self.target, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        connection.request("GET", self.path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.end_headers()
        self.wfile.write(body)
