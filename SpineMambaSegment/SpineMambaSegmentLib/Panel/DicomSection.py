"""Further DICOM objects in the section Export: measurements, contours and the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
import slicer.util
from slicer.i18n import tr as _

from spinemamba.export.names import safe_case
from SpineMambaSegmentLib import Errors
from SpineMambaSegmentLib.Application.UserSettings import UserSettings
from SpineMambaSegmentLib.Panel.StraightenedSection import insideOf
from SpineMambaSegmentLib.Runs.CommandRun import (
    DicomFilesRun,
    DicomRequest,
    isFromDicom,
    sourceFile,
)

_POLL_MS = 100


class DicomSection:
    """Check boxes, levels and a button; the files are written in a background process.

    Args:
        ui: Widgets of the panel.
        say: Shows a message in the status line.
        settings: Remembers folders.

    Attributes:
        button: The collapsible section.
        boxes: Check boxes by kind, as in `export.names.DICOM_ENDS`.
        writeButton: Asks for folders and starts.
        cancelButton: Stops.
        bar: Moves while files are being written.
        label: The result, or what went wrong.
    """

    def __init__(self, ui: Any, say: Callable[[str], None], settings: UserSettings):
        self._ui, self._say, self._settings = ui, say, settings
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        self._run: DicomFilesRun | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.connect("timeout()", self._poll)
        self.button = ctk.ctkCollapsibleButton()
        self.button.text = _("DICOM for an archive")
        ui.exportCollapsibleButton.layout().addWidget(self.button)
        self._makeWidgets(insideOf(self.button))
        self.button.collapsed = True
        self.writeButton.connect("clicked(bool)", self.choose)
        self.cancelButton.connect("clicked(bool)", self.cancel)
        for box in self.boxes.values():
            box.connect("toggled(bool)", self._refresh)
        self._refresh()

    def show(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Enable the button for a segmentation; another one ends a run."""
        if self._run is not None and self._node is not node:
            self.cancel()
        self._node = node
        self._refresh()

    def isWriting(self) -> bool:
        """Return True while files are being written."""
        return self._run is not None

    def kinds(self) -> tuple[str, ...]:
        """Return the chosen kinds; measurements refer to segments, which are then written, too."""
        chosen = [kind for kind, box in self.boxes.items() if box.checked]
        return ("seg", *chosen) if "sr" in chosen and "seg" not in chosen else tuple(chosen)

    def choose(self, checked: bool = False) -> None:
        """Ask for the source series if it is not known, and for the folder; then write."""
        with Errors.shown(_("The DICOM files could not be written."), self._say):
            if isFromDicom(self._node):
                source = sourceFile(self._node, slicer.dicomDatabase.fileForInstance)
            else:
                title = _("Folder of the DICOM series of this volume")
                source = self._settings.askFolder(title, "DicomSource")
            folder = None
            if source is not None:
                folder = self._settings.askFolder(_("Folder for the DICOM files"), "Export")
            if folder is not None:
                self.write(source, folder)

    def write(self, source: Path, folder: Path) -> None:
        """Start to write the files, after asking whether existing ones may be replaced."""
        case = safe_case(self._ui.caseEdit.text)
        levels = self._ui.levelsEdit.text.replace(",", " ").strip()
        request = DicomRequest(source, folder, case, self.kinds(), levels)
        existing = [path for path in request.paths() if path.exists()]
        if existing:
            text = _("Replace {count} files, such as {name}?")
            text = text.format(count=len(existing), name=existing[0].name)
            if not slicer.util.confirmOkCancelDisplay(text):
                return
        with Errors.shown(_("The DICOM files could not be written."), self._say):
            self._run = DicomFilesRun(self._node, request)
            self._timer.start()
            self._report(_("Writing {count} DICOM files").format(count=len(request.kinds)))
        self._refresh()

    def cancel(self, checked: bool = False) -> None:
        """Stop, if files are being written; then none is written."""
        if self._run is not None:
            self._end().stop()
            self._report(_("Stopped. No DICOM file was written."))
        self._refresh()

    def _poll(self) -> None:
        if self._run is None or self._run.isRunning():
            return
        run = self._end()
        self._refresh()
        self.label.text = ""
        with Errors.shown(_("The DICOM files could not be written."), self._say):
            run.finish()
            names = ", ".join(path.name for path in run.outputs)
            self._report(_("Saved {file}.").format(file=names))

    def _end(self) -> DicomFilesRun:
        run, self._run = self._run, None
        self._timer.stop()
        return run

    def _report(self, text: str) -> None:
        self.label.text = text
        self.label.setVisible(True)
        self._say(text)

    def _refresh(self) -> None:
        node, isWriting = self._node, self.isWriting()
        hasSegments = node is not None and node.GetSegmentation().GetNumberOfSegments() > 0
        reason = ""
        if not hasSegments:
            reason = _("Nothing was segmented yet.")
        elif not self.kinds():
            reason = _("Choose what to write.")
        tip = _("Write the chosen files into a folder")
        if hasSegments and not isFromDicom(node):
            tip = _("The volume was not loaded from DICOM: the folder of its series is asked for")
        self.writeButton.enabled = not reason and not isWriting
        self.writeButton.toolTip = reason or tip
        self.cancelButton.enabled = isWriting
        self.bar.maximum = 0 if isWriting else 1
        self.bar.setVisible(isWriting)
        self.label.setVisible(bool(self.label.text))

    def _makeWidgets(self, inside: qt.QVBoxLayout) -> None:
        texts = {
            "seg": (_("Segments (SEG)"), _("The vertebrae on the voxels of the series")),
            "rtstruct": (_("Contours (RTSTRUCT)"), _("Contours of the vertebrae in each slice")),
            "sr": (_("Measurements (SR)"), _("TID 1500; refers to the segments, written with it")),
            "pdf": (_("Report (PDF)"), _("Needs Chromium, Chrome or Edge on this computer")),
        }
        self.boxes = {}
        for kind, (text, tip) in texts.items():
            self.boxes[kind] = box = qt.QCheckBox(text)
            box.setToolTip(tip)
            box.setChecked(kind in ("seg", "sr"))
            inside.addWidget(box)
        self.writeButton = qt.QPushButton(_("Write DICOM files"))
        self.cancelButton = qt.QPushButton(_("Cancel"))
        self.cancelButton.setToolTip(_("Stop; no file is written"))
        row = qt.QHBoxLayout()
        row.addWidget(self.writeButton)
        row.addWidget(self.cancelButton)
        # The process reports no progress.
        self.bar = qt.QProgressBar()
        self.bar.setTextVisible(False)
        self.label = qt.QLabel()
        self.label.setWordWrap(True)
        inside.addLayout(row)
        inside.addWidget(self.bar)
        inside.addWidget(self.label)
