"""The computing modules that review uses, loaded when they are first needed. No Qt.

Importing the panel must load neither scipy nor skimage, and Slicer may not have them yet.
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
    "imaging.masks",
    "imaging.straighten",
    "imaging.volume",
    "labelmaps.recognise_scheme",
)
"""Modules of spinemamba that run in Slicer's process; none of them may load torch."""


def tool(name: str) -> ModuleType:
    """Return one of the modules `NAMES`.

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
