"""Inputs and options of a run: selectors in the panel, parameter node and settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import qt
import slicer
import slicer.util
import vtk
from slicer.i18n import tr as _

from spinemamba.common.errors import UserError
from spinemamba.protocol.model_card import DEFAULT, find_model, read_card
from spinemamba.protocol.remote.site import Site
from SpineMambaSegmentLib import Errors
from SpineMambaSegmentLib.Panel.Parameters import (
    ALL_FRAMES,
    CHOICES,
    FINE_SLICES,
    NODES,
    Parameters,
    parametersOf,
)
from SpineMambaSegmentLib.Runs.SegmentRun import SERVER, RunOptions, deviceOf
from SpineMambaSegmentLib.Scene import Frames, Inputs
from SpineMambaSegmentLib.Setup.ModelStore import ModelStore, cardText

_SETTINGS = "SpineMambaSegment"


class InputSection:
    """The selectors of the sections Inputs and Segment.

    Nodes, modality and quality are stored in the parameter node and saved with the scene. Model
    and device belong to the computer, and are stored in Slicer's settings.

    Attributes:
        site: Returns the server; None if its address is missing or not valid.

    Args:
        ui: Widgets of the panel.
        settings: Slicer's settings.
        store: Installed models.
        onChange: Called when the user changed a selector.
    """

    def __init__(
        self, ui: Any, settings: qt.QSettings, store: ModelStore, onChange: Callable[[], None]
    ):
        self._ui, self._settings, self._store, self._onChange = ui, settings, store, onChange
        self._nodeSelectors = dict(
            zip(NODES, (ui.inputSelector, ui.outputSelector, ui.roiSelector), strict=True)
        )
        self._choiceSelectors = {
            "Modality": ui.modalitySelector,
            "Quality": ui.qualitySelector,
            "Frames": ui.framesSelector,
            "Slices": ui.slicesSelector,
        }
        self.site: Callable[[], Site | None] = lambda: None
        self._devices: Sequence[dict[str, Any]] = []
        self._parameters: Parameters | None = None
        self._observer = 0
        self._reading = False
        self.showDevices([])
        self.showModels()
        self._showFrames()
        for selector in self._nodeSelectors.values():
            selector.connect("currentNodeChanged(vtkMRMLNode*)", self._caseChanged)
        for selector in self._choiceSelectors.values():
            selector.connect("currentIndexChanged(int)", self._caseChanged)
        for name in ("modelSelector", "deviceSelector"):
            getattr(ui, name).connect("currentIndexChanged(int)", self._machineChanged)

    def setParameterNode(self, node: slicer.vtkMRMLScriptedModuleNode | None) -> None:
        """Show the values of a parameter node, and keep both equal; None detaches it."""
        if self._parameters is not None:
            self._parameters.RemoveObserver(self._observer)
            self._parameters = None
        if node is None:
            return
        self._parameters = parametersOf(node)
        self._observer = self._parameters.AddObserver(
            vtk.vtkCommand.ModifiedEvent, self._parametersChanged
        )
        self._showParameters()
        if self._parameters.InputVolume is None and self.volumeNode() is not None:
            self._caseChanged()
        self._onChange()

    def parameters(self) -> Parameters | None:
        """Return the parameter node of the scene; None between two scenes."""
        return self._parameters

    def volumeNode(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """Return the image to segment."""
        return self._ui.inputSelector.currentNode()

    def suggestVolume(self) -> None:
        """Select the first volume that can be segmented, if none is selected."""
        if self.volumeNode() is None and self._parameters is not None:
            scene = self._parameters.parameterNode.GetScene()
            self._ui.inputSelector.setCurrentNode(Inputs.firstVolume(scene))

    def segmentationNode(self) -> slicer.vtkMRMLSegmentationNode | None:
        """Return the output segmentation; None for a new node."""
        return self._ui.outputSelector.currentNode()

    def options(self) -> RunOptions:
        """Return the options of a run."""
        device = _data(self._ui.deviceSelector) or "auto"
        return RunOptions(
            self.model(),
            device,
            self._choice("Modality"),
            self._choice("Quality"),
            self._ui.roiSelector.currentNode(),
            self._allFrames(),
            self.site() if device == SERVER else None,
            self._choice("Slices") == FINE_SLICES,
        )

    def _allFrames(self) -> bool:
        return self._choice("Frames") == ALL_FRAMES and self._hasFrames()

    def _hasFrames(self) -> bool:
        node = self.volumeNode()
        return node is not None and len(Frames.framesOf(node)) > 1

    def _showFrames(self) -> None:
        """Offer the frames if the volume belongs to a sequence."""
        hasFrames = self._hasFrames()
        self._ui.framesSelector.setVisible(hasFrames)
        self._ui.framesSelectorLabel.setVisible(hasFrames)

    def model(self) -> str:
        """Return the name or folder of the selected model."""
        return _data(self._ui.modelSelector) or DEFAULT

    def describe(self) -> str:
        """Return the options as text without names of nodes and folders, for diagnostics."""
        chosen = self.options()
        words = (Path(chosen.model).name, chosen.device, chosen.modality, chosen.quality)
        region = ["region"] if chosen.roiNode is not None else []
        more = [*region, *(["all-frames"] if chosen.allFrames else [])]
        return ", ".join([*words, *more, *(["fine-slices"] if chosen.fineSlices else [])])

    def missing(self) -> str:
        """Return the reason why no run can be started; empty if one can."""
        node = self.volumeNode()
        if node is None:
            return _("Choose an input volume")
        try:
            Inputs.checkVolume(node)
            Inputs.checkSegmentation(self.segmentationNode(), node)
            if self._allFrames():
                Frames.checkOutput(node, self.segmentationNode())
            fine = self._choice("Slices") == FINE_SLICES
            Inputs.checkSlices(self.segmentationNode(), node, fine=fine)
            deviceOf(self.options())
        except UserError as error:
            return str(error)
        return ""

    def showModels(self) -> None:
        """List the installed models, and show the card of the selected one."""
        entries = []
        for name in self._store.names():
            title = Path(name).name if name != DEFAULT else _("{name} (bundled)").format(name=name)
            entries.append((title, name))
        self._fill(self._ui.modelSelector, entries, "Model")
        self._showCard()

    def showDevices(self, devices: Sequence[dict[str, Any]]) -> None:
        """List the devices found by `probe`, and the server."""
        self._devices = devices
        entries = [(_("Automatic"), "auto"), *((_deviceText(d), d["device"]) for d in devices)]
        if not devices:
            entries.append((_("CPU"), "cpu"))
        site = self.site()
        name = _("Server (see Setup)") if site is None else _("Server {host}")
        entries.append((name if site is None else name.format(host=site.host), SERVER))
        self._fill(self._ui.deviceSelector, entries, "Device")

    def showServer(self) -> None:
        """Show another address of the server."""
        self.showDevices(self._devices)
        self._onChange()

    def selectModel(self, name: str) -> None:
        """Select a model."""
        selector = self._ui.modelSelector
        selector.setCurrentIndex(max(0, selector.findData(name)))

    def _fill(self, selector: qt.QComboBox, entries: list[tuple[str, str]], key: str) -> None:
        self._reading = True
        selector.clear()
        for title, data in entries:
            selector.addItem(title, data)
        saved = self._settings.value(f"{_SETTINGS}/{key}")
        # A missing device may be connected again later: the setting is not changed.
        selector.setCurrentIndex(max(0, selector.findData(saved or "")))
        self._reading = False

    def _showCard(self) -> None:
        try:
            text = cardText(read_card(find_model(self.model())))
        except UserError as error:
            text = Errors.fullText(error)
        self._ui.modelCardText.setPlainText(text)

    def _showParameters(self) -> None:
        self._reading = True
        for name, selector in self._nodeSelectors.items():
            selector.setCurrentNode(getattr(self._parameters, name))
        for name, selector in self._choiceSelectors.items():
            word, words = getattr(self._parameters, name), CHOICES[name]
            selector.setCurrentIndex(words.index(word) if word in words else 0)
        self._reading = False
        self._showFrames()

    def _choice(self, name: str) -> str:
        return CHOICES[name][self._choiceSelectors[name].currentIndex]

    def _parametersChanged(self, caller: Any, event: str) -> None:
        """Show values that a script or another module has set."""
        if not self._reading:
            self._showParameters()
            self._onChange()

    def _caseChanged(self) -> None:
        if self._reading:
            return
        if self._parameters is not None:
            self._reading = True
            with slicer.util.NodeModify(self._parameters):
                for name, selector in self._nodeSelectors.items():
                    setattr(self._parameters, name, selector.currentNode())
                for name in self._choiceSelectors:
                    setattr(self._parameters, name, self._choice(name))
            self._reading = False
        self._showFrames()
        self._onChange()

    def _machineChanged(self) -> None:
        if self._reading:
            return
        self._settings.setValue(f"{_SETTINGS}/Model", self.model())
        self._settings.setValue(f"{_SETTINGS}/Device", _data(self._ui.deviceSelector))
        self._showCard()
        self._onChange()


def _deviceText(device: dict[str, Any]) -> str:
    """Return the displayed name of a device."""
    name = device.get("name", "")
    if device["device"] == "cpu":
        return _("CPU ({name})").format(name=name)
    if "free_gb" in device:
        text = _("{name}: {free:g} of {total:g} GB free")
        return text.format(name=name, free=device["free_gb"], total=device["total_gb"])
    return str(name)


def _data(selector: qt.QComboBox) -> str:
    """Return the data of the selected entry; empty if there is none."""
    return selector.itemData(selector.currentIndex) or ""
