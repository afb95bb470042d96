"""The section Export: surfaces, DICOM SEG, segmentation and result as files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import qt
import slicer
import slicer.util
from slicer.i18n import tr as _

from spinemamba.common.errors import UserError
from spinemamba.export.exporter import Export as SurfaceExport
from spinemamba.export.exporter import Step, Target
from spinemamba.export.item import Vertebra
from spinemamba.export.meshing.options import CRUMBS_MM3, SMOOTHING, MeshOptions
from spinemamba.export.selection import level_ranges, selected
from SpineMambaSegmentLib import Errors
from SpineMambaSegmentLib.Application.UserSettings import UserSettings
from SpineMambaSegmentLib.Runs.CommandRun import DicomRun, isFromDicom
from SpineMambaSegmentLib.Scene import Files
from SpineMambaSegmentLib.Scene.SurfaceSource import leftOut, sourceOf, vertebraeOf

_STRENGTHS = (0.0, 0.2, SMOOTHING, 0.6)
_DECIMATIONS = (0.0, 0.5, 0.8)
"""Values of the entries of the two selectors."""

_SMOOTHING_WORDS = ("none", "light", "standard", "strong")
_DETAIL_WORDS = ("full", "half", "fifth")
_SPACES = ("LPS", "RAS")
_ON = "on"
"""Words for the options in the settings; they stay valid if the values change."""

_PROGRESS_STEPS = 1000
_POLL_MS = 100
_DICOM_SEG = ".dcm"


class ExportSection:
    """Buttons that write files. Surfaces are written one by one, so that Slicer stays responsive.

    Args:
        ui: Widgets of the panel.
        say: Shows a message in the status line.
        settings: Remembers options and folders.
    """

    def __init__(self, ui: Any, say: Callable[[str], None], settings: UserSettings):
        self._ui, self._say, self._settings = ui, say, settings
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        self._run: _ExportTimer | None = None
        self._written = 0
        self._dicom: DicomRun | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.connect("timeout()", self._pollDicom)
        ui.dicomButton.connect("clicked(bool)", self.chooseDicom)
        ui.exportButton.connect("clicked(bool)", self.chooseFolder)
        ui.exportCancelButton.connect("clicked(bool)", self.cancel)
        ui.saveButton.connect("clicked(bool)", self.chooseSegmentation)
        ui.saveResultButton.connect("clicked(bool)", self.chooseResult)
        self._restore()
        for selector in self._selectors():
            selector.connect("currentIndexChanged(int)", self._keep)
        for box in self._boxes():
            box.connect("toggled(bool)", self._keep)
        ui.caseEdit.connect("editingFinished()", self._keep)

    def show(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Enable the buttons that apply to a segmentation; None disables all."""
        if self.isExporting() and (self._node is not node or node is None):
            self.cancel()
        self._node = node
        hasSegments = node is not None and node.GetSegmentation().GetNumberOfSegments() > 0
        hasResult = hasSegments and Files.resultText(node) is not None
        dicom = hasSegments and isFromDicom(node)
        ui, nothing = self._ui, _("Nothing was segmented yet.")
        buttons = (
            (ui.exportButton, hasSegments, _("Write a surface of each vertebra, and a manifest")),
            (ui.dicomButton, dicom, _("Write all vertebrae as one DICOM SEG of the series")),
            (ui.saveButton, hasSegments, _("Write all segments, on the voxels of the volume")),
            (
                ui.saveResultButton,
                hasResult,
                _("Write levels, probabilities and flags as JSON"),
            ),
        )
        for button, isPossible, tip in buttons:
            button.enabled = isPossible and not self.isExporting()
            button.toolTip = tip if isPossible else nothing
        if hasSegments and not dicom:
            ui.dicomButton.toolTip = _("The volume was not loaded from DICOM.")

    def isExporting(self) -> bool:
        """Return True while surfaces or a DICOM SEG are being written."""
        return self._dicom is not None or (self._run is not None and self._run.isRunning())

    def chooseFolder(self) -> None:
        """Ask for the folder of the surfaces, and export them."""
        folder = self._settings.askFolder(_("Folder for the surfaces"), "Export")
        if folder is not None:
            self.exportSurfaces(folder)

    def exportSurfaces(self, folder: Path) -> None:
        """Start to write a surface of each vertebra, after the necessary questions."""
        with Errors.shown(_("The surfaces could not be exported."), self._say):
            vertebrae = _chosen(vertebraeOf(self._node), self._ui.levelsEdit.text)
            accepted = _acceptUnreviewed(vertebrae)
            if accepted is False:
                return
            case = self._ui.caseEdit.text
            source = sourceOf(self._node, case)
            target = Target(folder, case, True, accepted, leftOut(self._node), source)
            export = SurfaceExport(vertebrae, target, self.options())
            if not _acceptReplacing(export.existing):
                return
            self._written = 0
            self._run = _ExportTimer(export, self._onStep, lambda error: self._onEnd(export, error))
            self._refresh()

    def options(self) -> MeshOptions:
        """Return the options chosen in the panel."""
        ui = self._ui
        boxes = ((ui.plyBox, "ply"), (ui.objBox, "obj"), (ui.glbBox, "glb"))
        return MeshOptions(
            formats=("stl", *(name for box, name in boxes if box.checked)),
            smoothing=_STRENGTHS[ui.smoothingSelector.currentIndex],
            decimation=_DECIMATIONS[ui.decimationSelector.currentIndex],
            joint=ui.jointBox.checked,
            space=_SPACES[ui.spaceSelector.currentIndex],
            crumbs_mm3=0.0 if ui.crumbsBox.checked else CRUMBS_MM3,
        )

    def cancel(self) -> None:
        """Stop the export, if there is one."""
        if self._dicom is not None:
            self._endDicom().stop()
            self._report(_("Stopped. No DICOM SEG was written."))
        elif self.isExporting():
            self._run.stop()
            self._run = None
            text = _("Stopped. {count} vertebrae were written.")
            self._report(text.format(count=self._written))
        self._refresh()

    def chooseDicom(self) -> None:
        """Ask for the file of the DICOM SEG, and write it."""
        self._choose(_("Export DICOM SEG"), _DICOM_SEG, self.exportDicom)

    def exportDicom(self, path: Path) -> None:
        """Start to write all vertebrae as one DICOM SEG, in a background process."""
        with Errors.shown(_("The DICOM SEG could not be written."), self._say):
            self._dicom = DicomRun(self._node, path, slicer.dicomDatabase.fileForInstance)
            self._timer.start()
            self._report(_("Writing the DICOM SEG"))
        self._refresh()

    def chooseSegmentation(self) -> None:
        """Ask for the file of the segmentation, and write it."""
        self._choose(_("Save segmentation"), Files.SEGMENTATION, self.saveSegmentation)

    def chooseResult(self) -> None:
        """Ask for the file of the result, and write it."""
        self._choose(_("Save result"), Files.RESULT, self.saveResult)

    def saveSegmentation(self, path: Path) -> None:
        """Write the segmentation; errors are shown."""
        with Errors.shown(_("The segmentation could not be saved."), self._say):
            Files.writeSegmentation(self._node, path)
            self._say(_("Saved {file}.").format(file=path.name))

    def saveResult(self, path: Path) -> None:
        """Write the result of the run; errors are shown."""
        with Errors.shown(_("The result could not be saved."), self._say):
            Files.writeResult(self._node, path)
            self._say(_("Saved {file}.").format(file=path.name))

    def _choose(self, title: str, suffix: str, save: Callable[[Path], None]) -> None:
        path = self._settings.askNewFile(title, "Export", f"spine{suffix}", suffix)
        if path is not None:
            save(path)

    def _selectors(self) -> dict[Any, tuple[str, tuple[str, ...]]]:
        """Return the key in the settings of each selector, and a word for each of its entries."""
        ui = self._ui
        return {
            ui.smoothingSelector: ("Export/Smoothing", _SMOOTHING_WORDS),
            ui.decimationSelector: ("Export/Detail", _DETAIL_WORDS),
            ui.spaceSelector: ("Export/Space", _SPACES),
        }

    def _boxes(self) -> dict[Any, str]:
        """Return the key in the settings of each check box."""
        ui = self._ui
        boxes = {ui.plyBox: "PLY", ui.objBox: "OBJ", ui.glbBox: "GLB", ui.jointBox: "Joint"}
        boxes[ui.crumbsBox] = "Crumbs"
        return {box: f"Export/{name}" for box, name in boxes.items()}

    def _restore(self) -> None:
        """Show the options of the last session; unknown ones are ignored."""
        for selector, (key, words) in self._selectors().items():
            if (word := self._settings.text(key)) in words:
                selector.setCurrentIndex(words.index(word))
        for box, key in self._boxes().items():
            box.setChecked(self._settings.text(key) == _ON)
        self._ui.caseEdit.text = self._settings.text("Export/Case") or self._ui.caseEdit.text

    def _keep(self) -> None:
        """Remember the options for the next session."""
        for selector, (key, words) in self._selectors().items():
            self._settings.keep(key, words[selector.currentIndex])
        for box, key in self._boxes().items():
            self._settings.keep(key, _ON if box.checked else "")
        self._settings.keep("Export/Case", self._ui.caseEdit.text)

    def _pollDicom(self) -> None:
        if self._dicom is None or self._dicom.isRunning():
            return
        export = self._endDicom()
        self._refresh()
        with Errors.shown(_("The DICOM SEG could not be written."), self._say):
            export.finish()
            self._report(_("Saved {file}.").format(file=export.path.name))

    def _endDicom(self) -> DicomRun:
        export, self._dicom = self._dicom, None
        self._timer.stop()
        return export

    def _onStep(self, step: Step) -> None:
        self._written += step.written is not None
        self._ui.exportProgressBar.value = round(_PROGRESS_STEPS * step.fraction)

    def _onEnd(self, export: SurfaceExport, error: Exception | None) -> None:
        summary = _("{count} vertebrae were written.").format(count=self._written)
        self._run = None
        self._refresh()
        if isinstance(error, UserError):
            self._report(summary)
            with Errors.shown(_("The export stopped."), self._say):
                raise error
        elif error is not None:
            self._report(" ".join([_("An internal error occurred."), summary]))
        else:
            leftOut = [f"{level}: {reason}" for level, reason in export.manifest.left_out]
            findings = [
                f"{entry.level}: {text}"
                for entry in export.manifest.vertebrae
                for text in entry.findings
            ]
            self._report("\n".join([summary, *leftOut, *findings]))

    def _report(self, text: str) -> None:
        self._ui.exportLabel.text = text
        self._ui.exportLabel.visible = True
        self._say(text.split("\n")[0])

    def _refresh(self) -> None:
        isExporting = self.isExporting()
        self._ui.exportCancelButton.enabled = isExporting
        self._ui.exportProgressBar.visible = isExporting
        self._ui.exportProgressBar.value = 0
        # The process of the DICOM export reports no progress.
        self._ui.exportProgressBar.maximum = _PROGRESS_STEPS if self._dicom is None else 0
        self.show(self._node)


class _ExportTimer:
    """Runs an export step by step in Qt's main thread, the only one that may read segments.

    Args:
        export: The export.
        onStep: Called after each step.
        onEnd: Called once at the end, with None or the error; not called after ``stop``.
    """

    def __init__(
        self,
        export: SurfaceExport,
        onStep: Callable[[Step], None],
        onEnd: Callable[[Exception | None], None],
    ):
        self._steps: Iterator[Step] = export.steps()
        self._onStep, self._onEnd = onStep, onEnd
        self._timer = qt.QTimer()
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self._next)
        self._timer.start()

    def isRunning(self) -> bool:
        """Return True until the export has ended."""
        return self._timer is not None

    def stop(self) -> None:
        """Stop between two steps: complete files are kept, and no partial file is left."""
        if self._timer is not None:
            self._timer.stop()
            self._timer.deleteLater()
            self._timer = None
            self._steps.close()

    def _next(self) -> None:
        if self._timer is None:
            return
        try:
            step = next(self._steps, None)
        # An unexpected error must also stop the timer; the section shows it.
        except Exception as error:
            self.stop()
            self._onEnd(error)
            if not isinstance(error, UserError):
                raise
            return
        if step is None:
            self.stop()
            self._onEnd(None)
        else:
            self._onStep(step)


def _chosen(vertebrae: list[Vertebra], levels: str) -> list[Vertebra]:
    """Return the vertebrae of ranges of levels such as "T12, L1-L5"; all for an empty text.

    Raises:
        UserError: If the text is not of this form, or there is no such vertebra.
    """
    text = ",".join(levels.replace(",", " ").split())
    if not text:
        return vertebrae
    try:
        ranges = level_ranges(text)
    except ValueError as error:
        raise UserError(
            _("{levels} are not levels.").format(levels=levels.strip()),
            _("Enter levels or ranges from head to tail, such as T12, L1-L5, or nothing for all."),
        ) from error
    return selected(vertebrae, [ranges])


def _acceptUnreviewed(vertebrae: list[Vertebra]) -> bool | None:
    """Ask once whether to export unreviewed vertebrae; return None if there are none."""
    unreviewed = [vertebra.level for vertebra in vertebrae if not vertebra.reviewed]
    if not unreviewed:
        return None
    text = _("Not approved: {levels}. Export them anyway? The manifest marks them.")
    return slicer.util.confirmOkCancelDisplay(text.format(levels=", ".join(unreviewed)))


def _acceptReplacing(paths: list[Path]) -> bool:
    """Ask once whether existing files may be replaced."""
    if not paths:
        return True
    text = _("Replace {count} files, such as {name}?")
    return slicer.util.confirmOkCancelDisplay(text.format(count=len(paths), name=paths[0].name))
