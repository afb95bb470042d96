"""The panel over a local server: whole run, cancel at each stage, an outage, the review."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
from check_helpers import add_segments, matrix_of
from cut_network import CutAt, network_to
from scene_helpers import add_volume
from server_process import local_server

from spinemamba.common.progress import STAGES
from spinemamba.phantom import PhantomOptions, make_phantom
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


@pytest.fixture
def user(server_user):
    return server_user


@pytest.fixture(scope="module")
def server(tmp_path_factory, module):
    with local_server(tmp_path_factory.mktemp("server"), environment={"PAUSE_S": "0.06"}) as made:
        yield made


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
    path = server.state / "audit.log"
    lines = path.read_text().splitlines() if path.exists() else []
    return sum(json.loads(line)["event"] == event for line in lines)


@pytest.mark.parametrize(
    ("stage", "silent"),
    [("upload", False), ("accepted", True), ("polling", False), ("result", True)],
)
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


def test_level_evidence_of_the_review_comes_from_the_server(server, user):
    user.enter(server.url)
    user.press()
    done = audited(server, "done")
    assert user.panel.boxMenu.addEvidence()
    user.wait()
    assert "level probabilities" in user.ui.statusLabel.text
    assert audited(server, "done") == done + 1


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
