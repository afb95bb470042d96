"""The section Setup: packages, devices and models."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer.util
from slicer.i18n import tr as _

from spinemamba.common.errors import UserError
from spinemamba.protocol.model_card import DEFAULT, find_model
from SpineMambaSegmentLib import Errors
from SpineMambaSegmentLib.Application.Icons import showStatus
from SpineMambaSegmentLib.Application.PipDialog import pipInDialog
from SpineMambaSegmentLib.Application.UserSettings import UserSettings
from SpineMambaSegmentLib.Runs.CommandRun import ProbeRun
from SpineMambaSegmentLib.Runs.PipRun import PipRun
from SpineMambaSegmentLib.Setup import Dependencies
from SpineMambaSegmentLib.Setup.ModelStore import ModelStore, checkModel

_POLL_MS = 100
_MAX_LETTERS = 60
"""Lines of pip may be long; longer ones would make the panel jump."""


class SetupSection:
    """One status line each for packages, devices, kernels and model, with a remedy if needed.

    Args:
        ui: Widgets of the panel.
        pyproject: The pyproject.toml that lists the required packages.
        store: Receives imported models.
        settings: Remembers the folders of file dialogs.
        onChange: Called with the devices when the probe has ended.
        onModel: Called with the model to select after an import or a removal.
    """

    def __init__(
        self,
        ui: Any,
        pyproject: Path,
        store: ModelStore,
        settings: UserSettings,
        *,
        onChange: Callable[[list[dict[str, Any]]], None],
        onModel: Callable[[str], None],
    ):
        self._ui, self._pyproject, self._store, self._settings = ui, pyproject, store, settings
        self._onChange, self._onModel = onChange, onModel
        self._lines = {
            "packages": (ui.packagesIcon, ui.packagesLabel),
            "device": (ui.deviceIcon, ui.deviceLabel),
            "kernels": (ui.kernelsIcon, ui.kernelsLabel),
            "model": (ui.modelIcon, ui.modelLabel),
        }
        self._probe: ProbeRun | None = None
        self._kernels: PipRun | None = None
        self._packagesInstalled = False
        self.facts: dict[str, Any] | str = _("not probed")
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.connect("timeout()", self._poll)
        ui.checkButton.connect("clicked(bool)", self.check)
        ui.installButton.connect("clicked(bool)", self.install)
        ui.wheelsButton.connect("clicked(bool)", self.chooseWheels)
        ui.kernelsButton.connect("clicked(bool)", self.installOrCancelKernels)
        ui.importModelButton.connect("clicked(bool)", self.chooseModel)
        ui.removeModelsButton.connect("clicked(bool)", self.removeModels)
        ui.kernelsButton.enabled = False

    def ensurePackages(self) -> None:
        """Install missing packages, after asking; nothing is checked again after a success.

        Raises:
            UserError: If packages are missing and the user declines, or they cannot be installed.
        """
        if not self._packagesInstalled:
            self._ensure()
            self._packagesInstalled = True

    def check(self) -> None:
        """Check packages and models at once, and devices in a background process."""
        self._showModels()
        packages = Dependencies.packages(self._pyproject)
        missing = [package for package in packages if not package.isMet]
        self._packagesInstalled = not missing
        self._showPackages(packages)
        if any(package.required.name == "torch" for package in missing):
            self._showNoFacts(_("PyTorch is not installed."))
        elif self._probe is None:
            self._ui.deviceLabel.text = _("Checking this computer")
            self._probe = ProbeRun()
            self._timer.start()

    def _showPackages(self, packages: list[Dependencies.Package]) -> None:
        """List installed and required versions, and offer to install or to upgrade."""
        ui, good = self._ui, _("Python packages are installed.")
        missing = [package for package in packages if not package.isMet]
        upgrades = bool(missing) and all(package.isTooOld for package in missing)
        ui.installButton.text = _("Upgrade") if upgrades else _("Install")
        text = good
        if missing:
            names = ", ".join(_needText(package) for package in missing)
            text = (
                _("Too old: {names}. Press Upgrade.")
                if upgrades
                else _("Missing: {names}. Press Install.")
            )
            text = text.format(names=names)
        self._mark("packages", not missing, text)
        ui.packagesLabel.toolTip = "\n".join(_versionText(package) for package in packages)
        for button in (ui.installButton, ui.wheelsButton):
            button.enabled = bool(missing)
            button.toolTip = good
        if missing:
            ui.installButton.toolTip = _("Install what is missing or too old; you are asked first")
            ui.wheelsButton.toolTip = _(
                "Install missing packages from a folder of wheels, without a network"
            )

    def checkModel(self, name: str) -> None:
        """Check all files of a model, and show the result."""
        try:
            card = checkModel(find_model(name))
        except UserError as error:
            self._mark("model", False, Errors.fullText(error))
            return
        text = _("Model {name} {version} is complete.").format(name=card.name, version=card.version)
        self._mark("model", True, text)

    def install(self) -> None:
        """Install missing packages and upgrade those that are too old, after asking."""
        with Errors.shown(_("The packages could not be installed.")):
            self._ensure()
        self.check()

    def chooseWheels(self) -> None:
        """Ask for a folder of wheels, and install from it."""
        if folder := self._settings.askFolder(_("Folder of wheels"), "Wheels"):
            self.installFromWheels(folder)

    def installFromWheels(self, folder: Path) -> None:
        """Install missing packages without a network."""
        with Errors.shown(_("The packages could not be installed.")):
            Dependencies.ensureFromWheels(self._pyproject, folder, self._pip)
        self.check()

    def installOrCancelKernels(self) -> None:
        """Install the fast kernels for NVIDIA GPUs in the background, or stop doing so."""
        if self._kernels is not None:
            self._stopKernels()
            self._mark("kernels", False, _("The installation was cancelled."))
            return
        with Errors.shown(_("The kernels could not be installed.")):
            arguments = Dependencies.kernelArguments(self._pyproject)
            if arguments:
                self._kernels = PipRun(arguments)
                self._ui.kernelsButton.text = _("Cancel")
                self._ui.kernelsLabel.text = _("Installing the kernels")
                self._timer.start()

    def chooseModel(self) -> None:
        """Ask for a model file, and import it."""
        kinds = _("Models (model.json *.zip)")
        if path := self._settings.askFile(_("Import model"), "Model", kinds):
            self.importModel(path)

    def removeModels(self) -> None:
        """Delete all imported models, after asking; bundled ones stay."""
        models = self._store.imported()
        question = _(
            "Delete {count} imported models ({size:.0f} MB) from {folder}? The bundled model stays."
        ).format(count=len(models), size=self._store.size_mb(), folder=self._store.folder)
        names = "\n".join(path.name for path in models)
        if not models or not slicer.util.confirmOkCancelDisplay(question, detailedText=names):
            return
        with Errors.shown(_("The models could not be deleted.")):
            self._store.removeImported()
        self._onModel(DEFAULT)
        self._showModels()

    def importModel(self, path: Path) -> None:
        """Import a model; errors are shown."""
        with Errors.shown(_("The model could not be imported.")):
            self._onModel(str(self._store.importModel(path)))
        self._showModels()

    def _showModels(self) -> None:
        """Enable the button that removes imported models, and say how much space they take."""
        count = len(self._store.imported())
        text = _("Delete the imported models: {count}, {size:.0f} MB")
        self._ui.removeModelsButton.enabled = bool(count)
        self._ui.removeModelsButton.toolTip = (
            text.format(count=count, size=self._store.size_mb())
            if count
            else _("No model was imported")
        )

    def stop(self) -> None:
        """Stop the probe and an installation of kernels, if they are running."""
        self._stopKernels()
        self._timer.stop()
        if self._probe is not None:
            self._probe.stop()
            self._probe = None

    def _ensure(self) -> None:
        self._ui.packagesLabel.text = _("Installing Python packages; this can take minutes.")
        # The PyTorch extension blocks Slicer's main thread: the text would be drawn too late.
        self._ui.packagesLabel.repaint()
        try:
            Dependencies.ensurePackages(self._pyproject, self._pip)
        finally:
            self._showPackages(Dependencies.packages(self._pyproject))

    def _pip(self, arguments: list[str]) -> None:
        pipInDialog(self._ui.setupCollapsibleButton, arguments)

    def _poll(self) -> None:
        self._pollProbe()
        self._pollKernels()
        if self._probe is None and self._kernels is None:
            self._timer.stop()

    def _pollProbe(self) -> None:
        if self._probe is None or self._probe.isRunning():
            return
        probe, self._probe = self._probe, None
        try:
            self._showFacts(probe.facts())
        except ValueError as error:
            self._showNoFacts(_("PyTorch does not work here: {why}.").format(why=error))

    def _pollKernels(self) -> None:
        run = self._kernels
        if run is None:
            return
        if run.isRunning():
            if line := run.line():
                self._ui.kernelsLabel.text = line[:_MAX_LETTERS]
            return
        self._stopKernels()
        with Errors.shown(_("The kernels could not be installed.")):
            run.finish()
        self.check()

    def _stopKernels(self) -> None:
        if self._kernels is not None:
            self._kernels.stop()
            self._kernels = None
        self._ui.kernelsButton.text = _("GPU kernels")

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
        self._mark("device", True, text)
        self._showKernels(facts, any(d["device"].startswith("cuda") for d in devices))
        self._onChange(devices)

    def _showKernels(self, facts: dict[str, Any], nvidia: bool) -> None:
        present = bool(facts["mamba_ssm"] and facts["causal_conv1d"])
        possible = nvidia and sys.platform == "linux"
        self._ui.kernelsButton.enabled = possible and not present
        if self._kernels is not None:  # the label shows the progress of the installation
            return
        if present:
            text = _("mamba-ssm is installed and used.")
        elif possible:
            text = _("Optional: mamba-ssm makes NVIDIA GPUs faster; the results are the same.")
        else:
            text = _("mamba-ssm is for Linux and NVIDIA GPUs; not needed here.")
        self._mark("kernels", True, text)
        self._ui.kernelsButton.toolTip = text

    def _showNoFacts(self, why: str) -> None:
        self.facts = why
        self._mark("device", False, why)
        self._onChange([])

    def _mark(self, name: str, good: bool, text: str) -> None:
        """Show a status line: an icon, and a text beside it."""
        icon, label = self._lines[name]
        label.text = text
        if good:
            showStatus(icon, "status-completed", _("Available"))
        else:
            showStatus(icon, "status-flagged", _("Needs attention"))


def _needText(package: Dependencies.Package) -> str:
    """Return the name of a package that is missing, or too old with its version."""
    if not package.isTooOld:
        return package.required.name
    text = _("{name} {version} (required: {required})")
    return text.format(
        name=package.required.name, version=package.version, required=package.required.specifier
    )


def _versionText(package: Dependencies.Package) -> str:
    """Return installed and required version of a package as one line."""
    text = _("{name}: {version} (required: {required})")
    version = package.version or (_("part of Slicer") if package.isMet else _("not installed"))
    return text.format(
        name=package.required.name, version=version, required=package.required.specifier
    )
