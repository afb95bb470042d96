"""The module uses what Slicer has: every name of qt, slicer and vtk stands in a list.

The list was made with Slicer's sources at hand, branch 5.10; beside each name is a file there that
defines or uses it. The test host could not tell: PySide6 and slicer-core have more names.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

MODULE = Path(__file__).resolve().parents[3] / "SpineMambaSegment"
LIB = sorted((MODULE / "SpineMambaSegmentLib").rglob("*.py"))
ROOTS = ("qt", "ctk", "slicer", "vtk")

ALLOWED = {
    "ctk.ctkCollapsibleButton": "Base/Python/slicer/ScriptedLoadableModule.py",
    "qt.QAbstractItemView.NoEditTriggers": "an enum of QAbstractItemView",
    "qt.QAbstractItemView.SelectRows": "Modules/Scripted/DICOMLib/DICOMBrowser.py",
    "qt.QByteArray": "Modules/Scripted/WebServer",
    "qt.QCheckBox": "Base/Python/slicer/parameterNodeWrapper/guiConnectors.py",
    "qt.QColor": "Modules/Scripted/DICOMLib/DICOMBrowser.py",
    "qt.QComboBox": "Base/Python/slicer/parameterNodeWrapper/guiConnectors.py",
    "qt.QEvent": "Docs/developer_guide/script_repository/gui.md",
    "qt.QEvent.MouseButtonPress": "Docs/developer_guide/script_repository/gui.md",
    "qt.QFileDialog.getExistingDirectory": "Modules/Scripted/ExtensionWizard/ExtensionWizard.py",
    "qt.QFileDialog.getOpenFileName": "Base/QTGUI/qSlicerFileDialog.h; static, as getSaveFileName",
    "qt.QFileDialog.getSaveFileName": "the same; static functions of QFileDialog are all wrapped",
    "qt.QFont": "Modules/Scripted/DataProbe/DataProbe.py",
    "qt.QHBoxLayout": "Base/Python/slicer/ScriptedLoadableModule.py",
    "qt.QHeaderView.ResizeToContents": "Modules/Scripted/DICOMLib/DICOMBrowser.py",
    "qt.QIcon": "all of QtGui is wrapped",
    "qt.QIcon.Selected": "an enum of QIcon",
    "qt.QItemSelectionModel.Rows": "an enum of QItemSelectionModel",
    "qt.QItemSelectionModel.Select": "the same",
    "qt.QKeySequence": "Docs/developer_guide/script_repository/gui.md",
    "qt.QLabel": "Modules/Scripted/DataProbe/DataProbe.py",
    "qt.QMenu": "all of QtWidgets is wrapped",
    "qt.QObject": "Modules/Scripted/WebServer",
    "qt.QPainter": "all of QtGui is wrapped; modules of Slicer's extensions draw with it",
    "qt.QPixmap": "Modules/Scripted/DataProbe/DataProbe.py",
    "qt.QPushButton": "Base/Python/slicer/ScriptedLoadableModule.py",
    "qt.QRect": "all of QtCore is wrapped",
    "qt.QSettings": "Base/Python/slicer/ScriptedLoadableModule.py",
    "qt.QShortcut": "Docs/developer_guide/script_repository/gui.md",
    "qt.QSize": "all of QtCore is wrapped",
    "qt.QTableWidget": "Modules/Scripted/DICOMLib/DICOMBrowser.py",
    "qt.QTableWidgetItem": "Modules/Scripted/DICOMLib/DICOMBrowser.py",
    "qt.QTimer": "Modules/Scripted/DICOMLib/DICOMProcesses.py",
    "qt.QVBoxLayout": "Base/Python/slicer/ScriptedLoadableModule.py",
    "qt.QWidget": "Base/Python/slicer/ScriptedLoadableModule.py",
    "qt.Qt.AlignCenter": "Qt; an enum of Qt itself",
    "qt.Qt.AlignHCenter": "Qt; an enum of Qt itself",
    "qt.Qt.AlignRight": "Qt; an enum of Qt itself",
    "qt.Qt.AlignVCenter": "Qt; an enum of Qt itself",
    "qt.Qt.IgnoreAspectRatio": "Qt; an enum of Qt itself",
    "qt.Qt.ItemIsEditable": "Modules/Scripted/DICOMLib/DICOMBrowser.py",
    "qt.Qt.ScrollBarAlwaysOff": "Qt; an enum of Qt itself",
    "qt.Qt.SmoothTransformation": "Qt; an enum of Qt itself",
    "qt.Qt.WidgetWithChildrenShortcut": "Modules/Scripted/ExtensionWizard/ExtensionWizardLib",
    "slicer.app.applicationLogic": "Base/QTCore/qSlicerCoreApplication.h",
    "slicer.app.applicationVersion": "Modules/Scripted/WebServer",
    "slicer.app.clipboard": "Base/Python/slicer/ScriptedLoadableModule.py",
    "slicer.app.connect": "Modules/Scripted/DICOMLib/DICOMBrowser.py",
    "slicer.app.disconnect": "a method of every QObject",
    "slicer.app.layoutManager": "Base/Python/slicer/util.py",
    "slicer.app.settings": "Base/Python/slicer/util.py",
    "slicer.app.slicerUserSettingsFilePath": "Modules/Scripted/ScreenCapture/ScreenCapture.py",
    "slicer.app.temporaryPath": "Base/QTCore/qSlicerCoreApplication.h",
    "slicer.dicomDatabase.fileForInstance": "Modules/Scripted/DICOMLib/DICOMUtils.py",
    "slicer.modules.terminologies.logic": "Modules/Loadable/Terminologies",
    "slicer.mrmlScene": "Base/Python/slicer/util.py",
    "slicer.mrmlScene.AddNewNodeByClass": "Libs/MRML/Core/vtkMRMLScene.h",
    "slicer.mrmlScene.Clear": "Libs/MRML/Core/vtkMRMLScene.h",
    "slicer.packaging.pip_ensure": "5.12 only; Dependencies looks whether it is there",
    "slicer.qMRMLNodeComboBox": "Base/Python/slicer/parameterNodeWrapper/guiConnectors.py",
    "slicer.qMRMLSegmentEditorWidget": "Modules/Loadable/Segmentations/Widgets",
    "slicer.util.NodeModify": "Base/Python/slicer/util.py",
    "slicer.util.childWidgetVariables": "Base/Python/slicer/util.py",
    "slicer.util.confirmOkCancelDisplay": "Base/Python/slicer/util.py",
    "slicer.util.errorDisplay": "Base/Python/slicer/util.py",
    "slicer.util.loadUI": "Base/Python/slicer/util.py",
    "slicer.util.pip_install": "Base/Python/slicer/util.py",
    "slicer.util.tryWithErrorDisplay": "Base/Python/slicer/util.py",
    "slicer.vtkMRMLLabelMapVolumeNode": "Libs/MRML/Core",
    "slicer.vtkMRMLMarkupsLineNode": "Modules/Loadable/Markups/MRML",
    "slicer.vtkMRMLMarkupsNode": "Modules/Loadable/Markups/MRML",
    "slicer.vtkMRMLMarkupsNode.PointPositionDefinedEvent": "the same",
    "slicer.vtkMRMLMarkupsPlaneNode": "Modules/Loadable/Markups/MRML",
    "slicer.vtkMRMLMarkupsROINode": "Modules/Loadable/Markups/MRML",
    "slicer.vtkMRMLNode": "Libs/MRML/Core",
    "slicer.vtkMRMLScalarVolumeNode": "Libs/MRML/Core",
    "slicer.vtkMRMLScene": "Libs/MRML/Core",
    "slicer.vtkMRMLScriptedModuleNode": "Libs/MRML/Core",
    "slicer.vtkMRMLSegmentEditorNode": "Modules/Loadable/Segmentations/MRML",
    "slicer.vtkMRMLSegmentationNode": "Libs/MRML/Core",
    "slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole": "Libs/MRML/Core",
    "slicer.vtkMRMLSegmentationStorageNode": "Libs/MRML/Core",
    "slicer.vtkMRMLSequenceBrowserNode": "Modules/Loadable/Sequences/MRML",
    "slicer.vtkMRMLSequenceNode": "Libs/MRML/Core",
    "slicer.vtkMRMLSliceNode": "Libs/MRML/Core",
    "slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode": "Libs/MRML/Core",
    "slicer.vtkMRMLTableNode": "Libs/MRML/Core",
    "slicer.vtkMRMLTransformNode": "Libs/MRML/Core",
    "slicer.vtkMRMLTransformNode.GetTransformBetweenNodes": "Libs/MRML/Core",
    "slicer.vtkMRMLTransformableNode": "Libs/MRML/Core",
    "slicer.vtkMRMLVolumeArchetypeStorageNode": "Libs/MRML/Core",
    "slicer.vtkMRMLVolumeNode": "Libs/MRML/Core",
    "slicer.vtkOrientedImageData": "Libs/vtkSegmentationCore",
    "slicer.vtkOrientedImageDataResample": "Libs/vtkSegmentationCore",
    "slicer.vtkOrientedImageDataResample.CalculateEffectiveExtent": "the same",
    "slicer.vtkOrientedImageDataResample.CopyImage": "the same",
    "slicer.vtkSegment": "Libs/vtkSegmentationCore",
    "slicer.vtkSegment.GetTerminologyEntryTagName": "Libs/vtkSegmentationCore",
    "slicer.vtkSegmentation": "Libs/vtkSegmentationCore",
    "slicer.vtkSegmentation.SegmentModified": "an enum of vtkSegmentation",
    "slicer.vtkSegmentation.SegmentRemoved": "the same",
    "slicer.vtkSegmentation.SourceRepresentationModified": "the same",
    "slicer.vtkSegmentationConverter.DeserializeImageGeometry": "Libs/vtkSegmentationCore",
    "slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName": "the same",
    "slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName": "the same",
    "slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName": "the same",
    "slicer.vtkSegmentationConverter.GetSegmentationFractionalLabelmapRepresentationName": "it too",
    "slicer.vtkSlicerSegmentationsModuleLogic": "Modules/Loadable/Segmentations/Logic",
    "vtk.VTK_SHORT": "VTK",
    "vtk.VTK_UNSIGNED_CHAR": "VTK",
    "vtk.reference": "VTK",
    "vtk.vtkCommand.ModifiedEvent": "Base/Python/slicer/parameterNodeWrapper/wrapper.py",
    "vtk.vtkDoubleArray": "VTK",
    "vtk.vtkGeneralTransform": "VTK",
    "vtk.vtkImageData": "VTK",
    "vtk.vtkMath.Cross": "VTK",
    "vtk.vtkMatrix4x4": "VTK",
    "vtk.vtkPoints": "VTK",
    "vtk.vtkPolyData": "VTK",
    "vtk.vtkStringArray": "VTK",
    "vtk.vtkVector3d": "VTK",
}


def names_in(code: str) -> set[str]:
    """Return the dotted names of Qt, Slicer and VTK in a file, each in its full length."""
    tree = ast.parse(code)
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    inner = {id(node.value) for node in attributes}
    names = {dotted(node) for node in attributes if id(node) not in inner}
    return {name for name in names if name.partition(".")[0] in ROOTS}


def dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([getattr(node, "id", ""), *reversed(parts)])


def imports_in(code: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def test_the_list_of_allowed_names_equals_the_names_used():
    used = {
        n for p in [MODULE / "SpineMambaSegment.py", *LIB] for n in names_in(p.read_text("utf-8"))
    }
    assert used - set(ALLOWED) == set()
    assert set(ALLOWED) - used == set()


def test_a_name_missing_from_the_list_is_detected():
    planted = names_in("import qt\nqt.QTextCodec.codecForName('x')\nself.qt.y\nslicer.app.foo()\n")
    assert planted == {"qt.QTextCodec.codecForName", "slicer.app.foo"}


@pytest.mark.parametrize("path", LIB, ids=lambda path: path.stem)
def test_only_the_module_file_uses_the_application(path: Path):
    singletons = ("slicer.mrmlScene", "slicer.app", "slicer.modules")
    assert not [n for n in names_in(path.read_text("utf-8")) if n.startswith(singletons)]


@pytest.mark.parametrize(
    "path", [MODULE / "SpineMambaSegment.py", *LIB], ids=lambda path: path.stem
)
def test_modules_removed_from_newer_pythons_are_not_imported(path: Path):
    assert not imports_in(path.read_text("utf-8")) & {"imp", "distutils", "pkg_resources", "psutil"}


OPEN_AND_RUN = """
import sys, time
from pathlib import Path
sys.path[:0] = [sys.argv[1], sys.argv[2]]
import application
application.start(Path(sys.argv[3]))
module = application.import_module(Path(sys.argv[2]) / "SpineMambaSegment.py")
widget, frame = application.make_panel(module)
widget.enter()
for _ in range(20):
    application.slicer.app.processEvents()
widget.cleanup()
heavy = ("torch", "SimpleITK", "scipy", "skimage", "matplotlib", "safetensors")
assert "numpy" in sys.modules
print(*[name for name in heavy if name in sys.modules])
"""


def test_opening_the_panel_imports_no_heavy_package(tmp_path: Path):
    pytest.importorskip("application", reason="PySide6, slicer-core or Qt's libraries missing")
    host = str(Path(__file__).parent / "host")
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(OPEN_AND_RUN),
        host,
        str(MODULE),
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
