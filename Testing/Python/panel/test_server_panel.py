"""The panel over a local server: whole run, cancel at each stage, an outage, the test button."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import slicer
from check_helpers import add_segments, matrix_of
from cut_network import CutAt, network_to
from scene_helpers import add_volume
from server_process import local_server

from spinemamba.common.progress import STAGES
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.protocol import events
from spinemamba.protocol.remote import remote_worker
from spinemamba.protocol.remote.remote_job import Patience

NOISE = np.random.default_rng(0).integers(0, 999, (48, 120, 120)).astype(np.int16)
EVENTS = ("accepted", "started", "done")
CUTS = {
    "upload": CutAt(b"POST /v1/jobs ", sent=NOISE.nbytes // 2),
    "accepted": CutAt(b"POST /v1/jobs ", answered=1),
    "polling": CutAt(rb"GET /v1/jobs/\w+ ", answered=1),
    "result": CutAt(rb"GET /v1/jobs/\w+/result ", answered=1),
}
"""Where the network is cut: in the image, in the answer to it, in a poll, in the result."""

QUICK = Patience(outage_s=20.0, first_s=0.05, longest_s=0.2, poll_s=0.1)


@pytest.fixture(scope="module")
def server(tmp_path_factory, module):
    with local_server(tmp_path_factory.mktemp("server"), environment={"PAUSE_S": "0.06"}) as made:
        yield made


@pytest.fixture(autouse=True)
def token_store(module, monkeypatch):
    """The module TokenStore, which must not write to the keyring of the user."""
    from SpineMambaSegmentLib.Setup import TokenStore

    monkeypatch.setattr(TokenStore, "_keyring", lambda: None)
    monkeypatch.setattr(remote_worker, "Patience", lambda: QUICK)
    return TokenStore


@pytest.fixture
def user(token_store, panel, volume, pump, real_worker):
    return User(panel, volume, pump, real_worker)


class User:
    """A user of the panel with a server.

    Attributes:
        stages: Stages of the run so far.
        warnings: Warnings of the run.
    """

    def __init__(self, panel, volume, pump, folder: Path):
        self.panel, self.ui, self.pump, self.folder = panel, panel.ui, pump, folder
        self.stages: list[str] = []
        self.lines: list[str] = []
        self.warnings: list[str] = []
        show = panel.runSection.show

        def spy(event):
            show(event)
            if isinstance(event, events.Progress):
                self.stages.append(event.stage)
                self.lines.append(self.ui.statusLabel.text)
            if isinstance(event, events.Warning):
                self.warnings.append(event.message)

        panel.runSection.show = spy
        self.ui.inputSelector.setCurrentNode(volume)
        self.ui.modelSelector.setCurrentIndex(0)

    def enter(self, address: str, token: str = "") -> None:
        """Type an address and a token, and choose the server as the device."""
        self.ui.serverAddressEdit.text = address
        self.panel.serverSection._onAddress()
        if token:
            self.ui.serverTokenEdit.text = token
            self.panel.serverSection._onToken()
        selector = self.ui.deviceSelector
        selector.setCurrentIndex(selector.findData("server"))

    def press(self, stage: str = "") -> None:
        """Press Segment Spine, and wait for a stage, or for the end."""
        self.ui.segmentButton.click()
        if stage:
            self.pump(lambda: stage in self.stages)
        else:
            self.wait()

    def wait(self) -> None:
        self.pump(lambda: not self.panel.runs.isRunning())

    def test(self) -> str:
        """Press Test connection; return the answer."""
        self.ui.testServerButton.click()
        self.pump(lambda: self.ui.testServerButton.enabled)
        return self.ui.serverLabel.text

    def segments(self) -> list[str]:
        node = self.ui.outputSelector.currentNode()
        if node is None:
            return []
        segmentation = node.GetSegmentation()
        count = segmentation.GetNumberOfSegments()
        return [segmentation.GetNthSegment(k).GetName() for k in range(count)]


def test_a_whole_run_over_the_server_says_who_and_which_model(server, user):
    user.enter(server.url)
    assert user.ui.segmentButton.enabled
    user.press()
    assert user.segments() == ["T12", "L1", "L2"], user.ui.statusLabel.text
    assert user.stages[0] == "send"
    assert user.stages[-1] == "fetch"
    assert set(user.stages) & set(STAGES)
    assert any("on Ward (127.0.0.1:" in line and "model" in line for line in user.lines)
    assert "Made on Ward" in user.ui.statusLabel.text
    assert list(user.folder.iterdir()) == []
    server.wait_until_idle()


@pytest.mark.parametrize("stage", ["send", "read", "locate", "segment", "write", "fetch"])
def test_cancel_at_each_stage_leaves_nothing_here_or_there(server, user, stage):
    user.enter(server.url)
    user.press(stage)
    if user.panel.runs.canCancel():
        user.ui.cancelButton.click()
        user.wait()
        assert user.ui.statusLabel.text == "Cancelled. Nothing was changed."
        assert user.segments() == []
    else:  # the last stage may have passed meanwhile
        assert stage == "fetch"
        user.wait()
    assert list(user.folder.iterdir()) == []
    server.wait_until_idle()


def outage(server, user, network, seconds: float) -> None:
    """Press Segment Spine on a network that is cut by itself; mend it after a time."""
    user.ui.inputSelector.setCurrentNode(add_volume(NOISE, np.eye(4)))
    user.enter(network.url)
    user.press("send")
    user.pump(lambda: network.is_cut)
    end_s = time.monotonic() + seconds
    user.pump(lambda: time.monotonic() > end_s, seconds + 30)
    assert user.panel.runs.isRunning()
    network.mend()
    user.wait()
    assert user.segments() == ["T12", "L1", "L2"], user.ui.statusLabel.text
    assert [text for text in user.warnings if "Trying again" in text]
    server.wait_until_idle()


def audited(server, event: str) -> int:
    """Return how often the audit log of a server has an event."""
    lines = (server.state / "audit.log").read_text().splitlines()
    return sum(json.loads(line)["event"] == event for line in lines)


@pytest.mark.parametrize("silent", [False, True], ids=["broken", "silent"])
@pytest.mark.parametrize("stage", CUTS)
def test_a_run_survives_a_network_that_is_cut(server, user, stage, silent):
    before = [audited(server, event) for event in EVENTS]
    with network_to(server.port, silent=silent, cut_at=CUTS[stage]) as network:
        # 20 s in proportion to waits that are 25 times shorter.
        outage(server, user, network, 0.8)
    assert [audited(server, event) for event in EVENTS] == [count + 1 for count in before]


@pytest.mark.long  # 20 s of waiting with the waits of users; the test above shortens all of them
@pytest.mark.parametrize("silent", [False, True], ids=["broken", "silent"])
@pytest.mark.parametrize("stage", CUTS)
def test_a_run_survives_twenty_seconds_without_a_network(
    tmp_path, user, stage, silent, monkeypatch
):
    monkeypatch.setattr(remote_worker, "Patience", Patience)
    with local_server(tmp_path / "server") as server:
        with network_to(server.port, silent=silent, cut_at=CUTS[stage]) as network:
            outage(server, user, network, 20.0)
        assert [audited(server, event) for event in EVENTS] == [1, 1, 1]


def test_without_an_answer_nothing_runs_here_unasked(user, monkeypatch):
    monkeypatch.setattr(
        remote_worker, "Patience", lambda: Patience(outage_s=0.1, first_s=0.05, longest_s=0.05)
    )
    user.enter("http://127.0.0.1:9")
    user.press()
    text = user.ui.statusLabel.text
    assert text.startswith("SERVER_UNREACHABLE: The server does not answer.")
    assert "choose another device" in text
    assert user.segments() == []
    assert user.panel.runSection.lastCode == "SERVER_UNREACHABLE"


def test_without_a_valid_address_the_server_cannot_be_used(user):
    user.enter("")
    assert not user.ui.segmentButton.enabled
    assert "address of the server" in user.ui.segmentButton.toolTip
    user.enter("nonsense")
    assert not user.ui.segmentButton.enabled
    assert "not the address" in user.test()
    user.ui.deviceSelector.setCurrentIndex(0)
    assert user.ui.segmentButton.enabled


@pytest.mark.slow  # networks
def test_a_box_run_of_the_review_goes_to_the_server(user, tmp_path):
    view = {"spacing_mm": (3.0, 2.0, 2.0), "scale": 0.75, "margin_mm": 8.0, "tight": True}
    phantom = make_phantom(3, PhantomOptions(first="L1", last="L3", **view))
    volume = add_volume(phantom.image.array, matrix_of(phantom), "Doe John")
    node = add_segments(volume, phantom.labels.array.astype(np.uint8), "Spine")
    user.ui.inputSelector.setCurrentNode(volume)
    user.ui.outputSelector.setCurrentNode(node)
    with local_server(tmp_path / "server", real=True) as server:
        user.enter(server.url)
        user.panel.refresh()
        user.panel.reviewSection.table.goTo("V21")
        assert user.panel.boxMenu.resegment()
        user.pump(lambda: not user.panel.runs.isRunning(), 120.0)
        assert user.panel.reviewSection.session.undoTitle == "Re-segment"
        assert "fetch" in user.stages
        server.wait_until_idle()


def test_the_connection_test_says_who_answers(server, user):
    user.enter(server.url)
    text = user.test()
    assert text.startswith("Ward answers to local")
    assert "starter" in text
    if folder := os.environ.get("SPINEMAMBA_PICTURES"):
        user.ui.setupCollapsibleButton.collapsed = False
        user.ui.inputsCollapsibleButton.collapsed = True
        user.ui.reviewCollapsibleButton.collapsed = True
        end_s = time.monotonic() + 0.5  # for layouts within layouts
        user.pump(lambda: time.monotonic() > end_s)
        user.ui.setupCollapsibleButton.grab().save(str(Path(folder) / "server-setup.png"))
        user.ui.segmentCollapsibleButton.grab().save(str(Path(folder) / "server-device.png"))
    user.enter("http://127.0.0.1:9")
    assert "No server answers at 127.0.0.1:9" in user.test()


def test_a_token_is_stored_apart_and_never_shown(user, tmp_path, tmp_path_factory):
    from spinemamba.cli.main import main

    folder = tmp_path_factory.mktemp("tokens")
    assert main(["server-token", "add", str(folder / "tokens"), "ward-7"]) == 0
    from spinemamba.server.tokens import add_token

    token = add_token(folder / "tokens", "ward-8")
    with local_server(folder / "server", tokens=folder / "tokens") as server:
        user.enter(server.url, "wrong-token")
        assert "oken" in user.test()
        user.enter(server.url, token)
        assert "answers to ward-8" in user.test()
    assert user.ui.serverTokenEdit.text == ""
    assert user.ui.serverTokenEdit.placeholderText == "stored"
    stored = [p for p in Path(slicer.app.settings().fileName()).parent.rglob("*") if p.is_file()]
    with_token = [p for p in stored if token in p.read_text(errors="replace")]
    assert [p.name for p in with_token] in ([], ["server-tokens.json"])
    store = user.panel.serverSection._tokens
    assert store.token(server.url) == token
    assert stat.S_IMODE(store._path.stat().st_mode) == 0o600
    store.keep(server.url, "")
    assert store.token(server.url) == ""
    assert token not in user.panel._application.settings.allKeys()


def test_a_keyring_of_the_system_is_used_where_there_is_one(token_store, monkeypatch, tmp_path):
    class Keyring:
        def __init__(self):
            self.kept = {}

        def get_password(self, service, name):
            return self.kept.get((service, name))

        def set_password(self, service, name, value):
            self.kept[service, name] = value

        def delete_password(self, service, name):
            del self.kept[service, name]

    made = Keyring()
    monkeypatch.setattr(token_store, "_keyring", lambda: made)
    store = token_store.TokenStore(tmp_path)
    store.keep("https://host", "t")
    assert store.token("https://host") == "t"
    assert list(tmp_path.iterdir()) == []
    store.keep("https://host", "")
    assert made.kept == {}
