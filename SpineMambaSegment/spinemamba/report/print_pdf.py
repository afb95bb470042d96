"""Print an HTML page into a PDF with an installed browser.

The page is self-contained, and the browser gets a folder of its own and no network. No library of
the package can lay out HTML, so that without a browser there is no PDF; the page prints from any.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from spinemamba.common.errors import Code, UserError

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge", "microsoft-edge")
_PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Microsoft/Edge/Application/msedge.exe",
)
_SECONDS = 120


def find_browser() -> str | None:
    """Return the path of a browser based on Chromium; None if there is none."""
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    return found or next((place for place in _PLACES if Path(place).is_file()), None)


def print_pdf(page: Path) -> bytes:
    """Return an HTML page as PDF.

    Args:
        page: The page, ``.html``.

    Raises:
        UserError: If no browser is installed (DEPENDENCY_MISSING), or it fails.
    """
    browser = find_browser()
    if browser is None:
        raise UserError(
            "A PDF needs Chromium, Chrome or Edge, and none is installed.",
            "Install one, or print the HTML page yourself.",
            Code.DEPENDENCY_MISSING,
        )
    with tempfile.TemporaryDirectory(prefix="spinemamba-") as folder:
        output = Path(folder) / "page.pdf"
        # A browser shows a file by its suffix, and the page may have a temporary name.
        copy = Path(folder) / "page.html"
        shutil.copyfile(page, copy)
        command = [browser, "--headless", "--disable-gpu", "--no-pdf-header-footer"]
        command += [
            "--disable-extensions",
            "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND",
        ]
        command += [f"--user-data-dir={folder}/profile", f"--print-to-pdf={output}"]
        if sys.platform == "linux":
            # In containers and as root, Chromium's own sandbox cannot start.
            command.append("--no-sandbox")
        command.append(copy.as_uri())
        try:
            subprocess.run(command, capture_output=True, timeout=_SECONDS, check=True)
            return output.read_bytes()
        except (OSError, subprocess.SubprocessError) as error:
            raise UserError(
                f"The browser could not print the page ({type(error).__name__}).",
                "Print the HTML page yourself.",
            ) from None
