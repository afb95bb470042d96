"""What to segment and how: shown in the panel, kept with the case or with the machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import UserError
from spinemamba.protocol.job import MODALITIES, QUALITIES
from spinemamba.protocol.model_card import DEFAULT, find_model, read_card
from SpineMambaSegmentLib import Errors
from SpineMambaSegmentLib.Runs.SegmentRun import RunOptions
from SpineMambaSegmentLib.Scene import Inputs
from SpineMambaSegmentLib.Setup.ModelStore import ModelStore, cardText

SETTINGS = "SpineMambaSegment"
REFERENCES = {"inputSelector": "InputVolume", "outputSelector": "OutputSegmentation"}
REFERENCES |= {"roiSelector": "Region"}
CHOICES = {"modalitySelector": ("Modality", MODALITIES)}
CHOICES |= {"qualitySelector": ("Quality", QUALITIES)}


class InputSection:
    """The selectors of the sections Inputs and Segment.

    What belongs to the case (nodes, modality, quality) goes to the parameter node and so into
    the scene; what belongs to the machine (model, device) goes to Slicer's settings.

    Args:
        ui: Widgets of the panel.
        settings: Slicer's settings.
        store: The models to offer.
        onChange: Called when the user changed something.
    """

    def __init__(
        self, ui: Any, settings: qt.QSettings, store: ModelStore, onChange: Callable[[], None]
    ):
        self._ui, self._settings, self._store, self._onChange = ui, settings, store, onChange
        self._node: slicer.vtkMRMLScriptedModuleNode | None = None
        self._reading = False
        self.showDevices([])
        self.showModels()
        for name in REFERENCES:
            getattr(ui, name).connect("currentNodeChanged(vtkMRMLNode*)", self._caseChanged)
        for name in CHOICES:
            getattr(ui, name).connect("currentIndexChanged(int)", self._caseChanged)
        for name in ("modelSelector", "deviceSelector"):
            getattr(ui, name).connect("currentIndexChanged(int)", self._machineChanged)

    def setParameterNode(self, node: slicer.vtkMRMLScriptedModuleNode | None) -> None:
        """Show what a parameter node says, and write what changes to it; None writes nowhere."""
        self._node = node
        if node is None:
            return
        self._reading = True
        for widget, role in REFERENCES.items():
            getattr(self._ui, widget).setCurrentNode(node.GetNodeReference(role))
        for widget, (name, words) in CHOICES.items():
            word = node.GetParameter(name)
            getattr(self._ui, widget).setCurrentIndex(words.index(word) if word in words else 0)
        self._reading = False
        if node.GetNodeReference("InputVolume") is None and self.volumeNode() is not None:
            self._caseChanged()
        self._onChange()

    def volumeNode(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """Return the image to segment."""
        return self._ui.inputSelector.currentNode()

    def suggestVolume(self) -> None:
        """Choose the first volume that can be segmented, if none is chosen."""
        if self.volumeNode() is None and self._node is not None:
            self._ui.inputSelector.setCurrentNode(Inputs.firstVolume(self._node.GetScene()))

    def segmentationNode(self) -> slicer.vtkMRMLSegmentationNode | None:
        """Return where the segments go; None for a new node."""
        return self._ui.outputSelector.currentNode()

    def options(self) -> RunOptions:
        """Return what the user chose."""
        words = {
            name: words[getattr(self._ui, widget).currentIndex]
            for widget, (name, words) in CHOICES.items()
        }
        return RunOptions(
            self.model(),
            _data(self._ui.deviceSelector) or "auto",
            words["Modality"],
            words["Quality"],
            self._ui.roiSelector.currentNode(),
        )

    def model(self) -> str:
        """Return the name or folder of the chosen model."""
        return _data(self._ui.modelSelector) or DEFAULT

    def describe(self) -> str:
        """Return the choices in words that name no node and no folder."""
        chosen = self.options()
        words = (Path(chosen.model).name, chosen.device, chosen.modality, chosen.quality)
        return ", ".join([*words, *(["region"] if chosen.roiNode is not None else [])])

    def missing(self) -> str:
        """Return why a press cannot work now; empty if it can."""
        node = self.volumeNode()
        if node is None:
            return _("Choose an input volume")
        try:
            Inputs.checkVolume(node)
            Inputs.checkSegmentation(self.segmentationNode())
        except UserError as error:
            return str(error)
        return ""

    def showModels(self) -> None:
        """Offer the models that there are, and show the card of the chosen one."""
        entries = []
        for name in self._store.names():
            title = Path(name).name if name != DEFAULT else _("{name} (bundled)").format(name=name)
            entries.append((title, name))
        self._offer(self._ui.modelSelector, entries, "Model")
        self._showCard()

    def showDevices(self, devices: Sequence[dict[str, Any]]) -> None:
        """Offer the devices that `probe` found."""
        entries = [(_("Automatic"), "auto"), *((deviceText(d), d["device"]) for d in devices)]
        if not devices:
            entries.append((_("CPU"), "cpu"))
        self._offer(self._ui.deviceSelector, entries, "Device")

    def selectModel(self, name: str) -> None:
        """Choose a model."""
        selector = self._ui.modelSelector
        selector.setCurrentIndex(max(0, selector.findData(name)))

    def _offer(self, selector: qt.QComboBox, entries: list[tuple[str, str]], key: str) -> None:
        self._reading = True
        selector.clear()
        for title, data in entries:
            selector.addItem(title, data)
        wanted = self._settings.value(f"{SETTINGS}/{key}")
        # A device that is away today may be back tomorrow: the setting itself stays.
        selector.setCurrentIndex(max(0, selector.findData(wanted or "")))
        self._reading = False

    def _showCard(self) -> None:
        try:
            text = cardText(read_card(find_model(self.model())))
        except UserError as error:
            text = Errors.inFull(error)
        self._ui.modelCardText.setPlainText(text)

    def _caseChanged(self) -> None:
        if self._reading:
            return
        if self._node is not None:
            for widget, role in REFERENCES.items():
                chosen = getattr(self._ui, widget).currentNode()
                self._node.SetNodeReferenceID(role, None if chosen is None else chosen.GetID())
            for widget, (name, words) in CHOICES.items():
                self._node.SetParameter(name, words[getattr(self._ui, widget).currentIndex])
        self._onChange()

    def _machineChanged(self) -> None:
        if self._reading:
            return
        self._settings.setValue(f"{SETTINGS}/Model", self.model())
        self._settings.setValue(f"{SETTINGS}/Device", _data(self._ui.deviceSelector))
        self._showCard()
        self._onChange()


def deviceText(device: dict[str, Any]) -> str:
    """Return a device as the selector shows it."""
    name = device.get("name", "")
    if device["device"] == "cpu":
        return _("CPU ({name})").format(name=name)
    if "free_gb" in device:
        text = _("{name}: {free:g} of {total:g} GB free")
        return text.format(name=name, free=device["free_gb"], total=device["total_gb"])
    return str(name)


def _data(selector: qt.QComboBox) -> str:
    """Return what the chosen entry stands for; empty if there is none."""
    return selector.itemData(selector.currentIndex) or ""
