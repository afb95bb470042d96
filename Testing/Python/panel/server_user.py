"""A user of the panel with a server."""

from __future__ import annotations

import os
import time
from pathlib import Path

from spinemamba.protocol import events
from spinemamba.protocol.remote.remote_job import Patience

QUICK = Patience(outage_s=20.0, first_s=0.05, longest_s=0.2, poll_s=0.1)


class ServerUser:
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

    def photograph_setup(self, name: str) -> None:
        """Write the section Setup and the device to the folder in SPINEMAMBA_PICTURES, if any."""
        if folder := os.environ.get("SPINEMAMBA_PICTURES"):
            self.ui.setupCollapsibleButton.collapsed = False
            self.ui.inputsCollapsibleButton.collapsed = True
            self.ui.reviewCollapsibleButton.collapsed = True
            end_s = time.monotonic() + 0.5  # for layouts within layouts
            self.pump(lambda: time.monotonic() > end_s)
            self.ui.setupCollapsibleButton.grab().save(str(Path(folder) / f"{name}.png"))
            self.ui.segmentCollapsibleButton.grab().save(str(Path(folder) / f"{name}-device.png"))
