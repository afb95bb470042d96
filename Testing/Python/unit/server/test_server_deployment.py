"""The examples of a deployment: their commands parse, and they run without rights."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from spinemamba.cli.serving import serve


@pytest.fixture
def examples(repository: Path) -> Path:
    """Folder of the examples."""
    return repository / "Resources" / "Docs" / "examples" / "server"


def parsed(words: list[str]) -> argparse.Namespace:
    """Parse the arguments of ``spinemamba serve``."""
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    return parser.parse_args(words)


def test_the_unit_of_systemd_starts_a_server_behind_a_proxy(examples: Path):
    unit = (examples / "spinemamba.service").read_text()
    words = shlex.split(re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1])
    args = parsed(words[2:])
    assert words[1] == "serve"
    assert (args.host, args.behind_proxy) == ("127.0.0.1", True)
    assert args.tokens is not None


def test_systemd_accepts_the_unit(examples: Path, tmp_path: Path):
    if (tool := shutil.which("systemd-analyze")) is None:
        pytest.skip("systemd-analyze is not installed")
    text = (
        (examples / "spinemamba.service")
        .read_text()
        .replace("/usr/local/lib/spinemamba/bin/spinemamba", "/bin/true")
    )
    unit = tmp_path / "spinemamba.service"
    unit.write_text(text)
    found = subprocess.run([tool, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert "spinemamba.service" not in found.stderr, found.stderr


def test_the_container_starts_a_server_with_tokens_and_without_rights(examples: Path):
    text = (examples / "Dockerfile").read_text()
    entry, command = (
        json.loads(re.search(rf"^{name} (\[.*\])$", text, re.MULTILINE)[1])
        for name in ("ENTRYPOINT", "CMD")
    )
    args = parsed([*entry[2:], *command])
    assert entry[:2] == ["spinemamba", "serve"]
    assert args.tokens is not None
    assert args.behind_proxy
    lines = text.splitlines()
    assert lines.index("USER spinemamba") < lines.index("EXPOSE 8642")
    assert not re.search(r"^(ADD|FROM .*:latest)", text, re.MULTILINE)


def test_the_proxy_lets_uploads_through_and_states_the_client(examples: Path):
    text = (examples / "nginx.conf").read_text()
    for line in (
        "proxy_request_buffering off;",
        "proxy_set_header   X-Forwarded-For $remote_addr;",
        "client_max_body_size    3g;",
    ):
        assert line in text
    assert text.count("{") == text.count("}")
