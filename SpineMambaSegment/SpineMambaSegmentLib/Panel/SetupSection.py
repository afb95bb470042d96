"""The section Setup: packages, devices and models."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from spinemamba.common.errors import UserError
from spinemamba.protocol.model_card import find_model
from SpineMambaSegmentLib import Errors
from SpineMambaSegmentLib.Runs.CommandRun import ProbeRun
from SpineMambaSegmentLib.Setup import Dependencies
from SpineMambaSegmentLib.Setup.ModelStore import ModelStore, checkModel

_POLL_MS = 100
_GOOD, _BAD = "\N{CHECK MARK}", "\N{BALLOT X}"
_GREEN, _RED = "color: #2e8b57", "color: #d9483b"
"""Readable in Slicer's light and dark styles."""


class SetupSection:
    """One status line each for packages, devices, kernels and model, with a remedy if needed.

    Args:
        ui: Widgets of the panel.
        pyproject: The pyproject.toml that lists the required packages.
        store: Receives imported models.
        onChange: Called with the devices when the probe has ended.
        onModel: Called with the folder of an imported model.
    """

    def __init__(
        self,
        ui: Any,
        pyproject: Path,
        store: ModelStore,
        onChange: Callable[[list[dict[str, Any]]], None],
        onModel: Callable[[str], None],
    ):
        self._ui, self._pyproject, self._store = ui, pyproject, store
        self._onChange, self._onModel = onChange, onModel
        self._probe: ProbeRun | None = None
        self._packagesInstalled = False
        self.facts: dict[str, Any] | str = _("not probed")
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.connect("timeout()", self._poll)
        ui.checkButton.connect("clicked(bool)", self.check)
        ui.installButton.connect("clicked(bool)", self.install)
        ui.wheelsButton.connect("clicked(bool)", self.chooseWheels)
        ui.kernelsButton.connect("clicked(bool)", self.installKernels)
        ui.importModelButton.connect("clicked(bool)", self.chooseModel)
        ui.kernelsButton.enabled = False

    def ensurePackages(self) -> None:
        """Install missing packages, after asking; nothing is checked again after a success.

        Raises:
            UserError: If packages are missing and the user declines, or they cannot be installed.
        """
        if not self._packagesInstalled:
            Dependencies.ensurePackages(self._pyproject)
            self._packagesInstalled = True

    def check(self) -> None:
        """Check packages at once, and devices in a background process."""
        missing = [required.name for required in Dependencies.missingPackages(self._pyproject)]
        self._packagesInstalled = not missing
        good = _("Python packages are installed.")
        bad = _("Missing: {names}. Press Install.").format(names=", ".join(missing))
        self._say(self._ui.packagesLabel, not missing, bad if missing else good)
        for button in (self._ui.installButton, self._ui.wheelsButton):
            button.enabled = bool(missing)
        self._ui.installButton.toolTip = (
            _("Install missing packages; you are asked first") if missing else good
        )
        self._ui.wheelsButton.toolTip = (
            _("Install missing packages from a folder of wheels, without a network")
            if missing
            else good
        )
        if "torch" in missing:
            self._showNoFacts(_("PyTorch is not installed."))
        elif self._probe is None:
            self._ui.deviceLabel.text = _("Checking this computer")
            self._probe = ProbeRun()
            self._timer.start()

    def checkModel(self, name: str) -> None:
        """Check all files of a model, and show the result."""
        try:
            card = checkModel(find_model(name))
        except UserError as error:
            self._say(self._ui.modelLabel, False, Errors.fullText(error))
            return
        text = _("Model {name} {version} is complete.").format(name=card.name, version=card.version)
        self._say(self._ui.modelLabel, True, text)

    def install(self) -> None:
        """Install missing packages, after asking."""
        with Errors.shown(_("The packages could not be installed.")):
            self._installing()
            Dependencies.ensurePackages(self._pyproject)
        self.check()

    def chooseWheels(self) -> None:
        """Ask for a folder of wheels, and install from it."""
        folder = qt.QFileDialog.getExistingDirectory(None, _("Folder of wheels"))
        if folder:
            self.installFromWheels(Path(folder))

    def installFromWheels(self, folder: Path) -> None:
        """Install missing packages without a network."""
        with Errors.shown(_("The packages could not be installed.")):
            self._installing()
            Dependencies.ensureFromWheels(self._pyproject, folder)
        self.check()

    def installKernels(self) -> None:
        """Install the fast kernels for NVIDIA GPUs, after asking."""
        with Errors.shown(_("The kernels could not be installed.")):
            Dependencies.ensureKernels(self._pyproject)
        self.check()

    def chooseModel(self) -> None:
        """Ask for a model file, and import it."""
        path = qt.QFileDialog.getOpenFileName(
            None, _("Import model"), "", _("Models (model.json *.zip)")
        )
        if path:
            self.importModel(Path(path))

    def importModel(self, path: Path) -> None:
        """Import a model; errors are shown."""
        with Errors.shown(_("The model could not be imported.")):
            self._onModel(str(self._store.importModel(path)))

    def stop(self) -> None:
        """Stop the probe, if it is running."""
        self._timer.stop()
        if self._probe is not None:
            self._probe.stop()
            self._probe = None

    def _installing(self) -> None:
        self._ui.packagesLabel.text = _("Installing Python packages; this can take minutes.")
        # pip blocks Slicer's main thread: without this, the text would be drawn too late. Slicer
        # 5.12 also shows pip's progress; 5.10 does not.
        self._ui.packagesLabel.repaint()

    def _poll(self) -> None:
        if self._probe is None or self._probe.isRunning():
            return
        probe, self._probe = self._probe, None
        self._timer.stop()
        try:
            self._showFacts(probe.facts())
        except ValueError as error:
            self._showNoFacts(_("PyTorch does not work here: {why}.").format(why=error))

    def _showFacts(self, facts: dict[str, Any]) -> None:
        self.facts = facts
        devices = facts["devices"]
        gpus = [d for d in devices if d["device"] != "cpu"]
        torch = _("PyTorch {version}").format(version=facts["torch"])
        if gpus:
            text = _("{torch} runs on {gpu}.").format(torch=torch, gpu=gpus[0]["name"])
        else:
            text = _("{torch} runs on the CPU; no GPU was found.").format(torch=torch)
        how = (gpus or devices)[0]
        text = _("{text} Selective scan: {scan}; convolutions: {precision}.").format(
            text=text, scan=how["scan"], precision=how["precision"]
        )
        self._say(self._ui.deviceLabel, True, text)
        self._showKernels(facts, any(d["device"].startswith("cuda") for d in devices))
        self._onChange(devices)

    def _showKernels(self, facts: dict[str, Any], nvidia: bool) -> None:
        present = bool(facts["mamba_ssm"] and facts["causal_conv1d"])
        possible = nvidia and sys.platform == "linux"
        self._ui.kernelsButton.enabled = possible and not present
        if present:
            text = _("mamba-ssm is installed and used.")
        elif possible:
            text = _("Optional: mamba-ssm makes NVIDIA GPUs faster; the results are the same.")
        else:
            text = _("mamba-ssm is for Linux and NVIDIA GPUs; not needed here.")
        self._say(self._ui.kernelsLabel, True, text)
        self._ui.kernelsButton.toolTip = text

    def _showNoFacts(self, why: str) -> None:
        self.facts = why
        self._say(self._ui.deviceLabel, False, why)
        self._onChange([])

    @staticmethod
    def _say(label: qt.QLabel, good: bool, text: str) -> None:
        label.text = f"{_GOOD if good else _BAD} {text}"
        label.styleSheet = _GREEN if good else _RED
