"""Modules of `spinemamba` that are imported at first use.

The panel must open without scipy and scikit-image, which may not be installed yet.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError

NAMES = (
    "editing.relabel",
    "editing.split",
    "evaluation.compare",
    "findings.labelled_spine",
    "findings.level_flags",
    "imaging.formats.nrrd_header",
    "imaging.formats.stated_geometry",
    "imaging.formats.stored_voxels",
    "imaging.intensity",
    "imaging.masks",
    "imaging.rib_view",
    "imaging.straighten",
    "imaging.volume",
    "labelmaps.recognise_scheme",
    "levels.outlines",
    "levels.scan_evidence",
    "levels.scan_match",
    "measure.calibration",
    "measure.follow_up.record",
    "planning.line_assessment",
    "planning.stored_bones",
)
"""Modules that may be imported into Slicer's process; none of them imports torch."""


def tool(name: str) -> ModuleType:
    """Import and return one of the modules in `NAMES`.

    Raises:
        UserError: If a package that it needs is not installed.
    """
    if name not in NAMES:
        raise ValueError(f"{name} is not meant for Slicer's process")
    try:
        return importlib.import_module(f"spinemamba.{name}")
    except ImportError as error:
        raise UserError(
            _("A Python package is missing: {error}.").format(error=error),
            _("Press Install in the section Setup."),
            Code.DEPENDENCY_MISSING,
        ) from error
