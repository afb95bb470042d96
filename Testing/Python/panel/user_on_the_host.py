"""Runs the scripted user of a real Slicer on the test host, in a process of its own.

python user_on_the_host.py MODULE_FILE SCRATCH
"""

from __future__ import annotations

# ruff: noqa: E402 - the path of the host is needed first
import faulthandler
import sys
from pathlib import Path

HERE = Path(__file__).parent
USER = HERE.parents[1] / "Slicer"
sys.path[:0] = [str(HERE), str(HERE / "host"), str(USER), str(Path(sys.argv[1]).parent)]

import application
import main_window
import slicer
import slicer.util
import views

VIEWS = (("Red", "Axial"), ("Yellow", "Sagittal"), ("Green", "Coronal"))


def show(background: slicer.vtkMRMLVolumeNode, fit: bool) -> None:
    """Stand in for slicer.util.setSliceViewerLayers, which needs the widgets of the views."""
    for view in SHOWN.values():
        view.show(background)


faulthandler.enable()
application.start(Path(sys.argv[2]))
application.import_module(Path(sys.argv[1]))
slicer.app.showMainWindow()
SHOWN = {name: views.ClickedSliceView(name, side, (300, 300)) for name, side in VIEWS}
slicer.app.views = main_window.LayoutManager(SHOWN)
slicer.util.setSliceViewerLayers = show
slicer.selfTests["SpineMambaSegment"] = lambda: None  # a test of its own

import scripted_user

sys.exit(scripted_user.main())
