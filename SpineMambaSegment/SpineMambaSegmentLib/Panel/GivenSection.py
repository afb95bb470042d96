"""Calibration of densities and femoral heads, in the section Measurements."""

from __future__ import annotations

from collections.abc import Callable

import ctk
import qt
import slicer
import slicer.util
from slicer.i18n import tr as _

from spinemamba.common.errors import UserError
from SpineMambaSegmentLib.Panel.InputSection import InputSection
from SpineMambaSegmentLib.Panel.Review.ReviewClicks import Clicks, Position
from SpineMambaSegmentLib.Panel.StraightenedSection import insideOf
from SpineMambaSegmentLib.Scene.Given import Given, markHips

_TEXTS = ("CalibrationSlope", "CalibrationIntercept", "CalibrationUncertainty")
"""Parameters with the numbers of the calibration."""

_HIPS = 2


class GivenSection:
    """Three numbers, a selector of points and a button to mark them; kept in the scene.

    Args:
        layout: Layout to which the section is added.
        inputs: Has the parameter node.
        say: Shows a message in the status line.

    Attributes:
        button: The collapsible section.
        edits: Slope, intercept and uncertainty of the calibration.
        selector: Points at the femoral heads.
        markButton: Waits for clicks on both femoral heads; pressed again, it stops waiting.
    """

    def __init__(self, layout: qt.QLayout, inputs: InputSection, say: Callable[[str], None]):
        self._inputs, self._say = inputs, say
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        self._scene: slicer.vtkMRMLScene | None = None
        self._clicks: Clicks | None = None
        self._reading = False
        self.button = ctk.ctkCollapsibleButton()
        self.button.text = _("Calibration and hips")
        layout.addWidget(self.button)
        self._makeWidgets(insideOf(self.button))
        self.button.collapsed = True
        for edit in self.edits:
            edit.connect("editingFinished()", self._changed)
        self.selector.connect("currentNodeChanged(vtkMRMLNode*)", self._changed)
        self.markButton.connect("clicked(bool)", self.mark)

    def show(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Show the values of the scene; points can be marked for a segmentation."""
        if segmentationNode is not self._node:
            self.stop()
        self._node = segmentationNode
        parameters = self._inputs.parameters()
        self.markButton.enabled = segmentationNode is not None and parameters is not None
        tip = _("Click the centre of each femoral head; the points can be moved afterwards")
        nothing = _("Nothing was segmented yet.")
        self.markButton.toolTip = tip if self.markButton.enabled else nothing
        if parameters is None:
            return
        self._reading = True
        scene = parameters.parameterNode.GetScene()
        if scene is not self._scene:
            self._scene = scene
            self.selector.setMRMLScene(scene)
        for edit, name in zip(self.edits, _TEXTS, strict=True):
            # What is being typed must not be replaced.
            if not edit.modified:
                edit.text = getattr(parameters, name)
        self.selector.setCurrentNode(parameters.Hips)
        self._reading = False
        self._showProblem()

    def given(self) -> Given:
        """Return what is entered."""
        return Given(*(edit.text for edit in self.edits), self.selector.currentNode())

    def mark(self, checked: bool = False) -> None:
        """Wait for a click on each femoral head; while waiting, stop."""
        if self._clicks is not None:
            self.stop()
            self._say(_("No point was changed."))
            return
        self._clicks = Clicks(self._node, _HIPS, self._marked, self._givenUp)
        self.markButton.text = _("Stop marking")
        self._say(_("Click the centres of both femoral heads in the slice views."))

    def stop(self) -> None:
        """Stop waiting for clicks."""
        clicks, self._clicks = self._clicks, None
        if clicks is not None:
            clicks.stop()
            self.markButton.text = _("Mark femoral heads")

    def _makeWidgets(self, inside: qt.QVBoxLayout) -> None:
        form = qt.QFormLayout()
        inside.addLayout(form)
        tips = (
            _("Density per Hounsfield unit, of your scanner and protocol; such as 0.8"),
            _("Density at 0 HU; such as 5"),
            _("Uncertainty of a density from the calibration, if known; coverage of 95 %"),
        )
        heads = (_("Slope (mg/mL per HU):"), _("Intercept (mg/mL):"), _("Uncertainty (mg/mL):"))
        self.edits = [qt.QLineEdit() for _head in heads]
        for edit, head, tip in zip(self.edits, heads, tips, strict=True):
            edit.setToolTip(tip)
            form.addRow(head, edit)
        self.selector = slicer.qMRMLNodeComboBox()
        self.selector.nodeTypes = ["vtkMRMLMarkupsFiducialNode"]
        self.selector.noneEnabled = True
        self.selector.addEnabled = self.selector.removeEnabled = False
        self.selector.noneDisplay = _("Not marked")
        self.selector.setToolTip(_("Two points, for pelvic incidence and tilt"))
        self.markButton = qt.QPushButton(_("Mark femoral heads"))
        self.problem = qt.QLabel()
        self.problem.setWordWrap(True)
        form.addRow(_("Femoral heads:"), self.selector)
        inside.addWidget(self.markButton)
        inside.addWidget(self.problem)

    def _changed(self) -> None:
        """Keep what the user has entered in the scene."""
        parameters = self._inputs.parameters()
        if self._reading or parameters is None:
            return
        values = dict(zip(_TEXTS, (edit.text for edit in self.edits), strict=True))
        hips = self.selector.currentNode()
        for edit in self.edits:
            edit.modified = False
        with slicer.util.NodeModify(parameters):
            for name, text in values.items():
                setattr(parameters, name, text)
            parameters.Hips = hips
        self._showProblem()

    def _showProblem(self) -> None:
        """Say what is wrong with the calibration, before a measurement is started."""
        text = ""
        try:
            self.given().check()
        except UserError as error:
            text = " ".join([error.message, error.remedy])
        self.problem.text = text
        self.problem.setVisible(bool(text))

    def _marked(self, positions: list[Position]) -> None:
        self._clicks = None
        self.markButton.text = _("Mark femoral heads")
        node = markHips(positions, self._node, self.selector.currentNode())
        self.selector.setCurrentNode(node)
        self._say(_("The femoral heads are marked. Press Measure."))

    def _givenUp(self) -> None:
        self._clicks = None
        self.markButton.text = _("Mark femoral heads")
        self._say(_("No point was changed."))
