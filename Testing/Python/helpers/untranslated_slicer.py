"""Texts without translation for slicer-core, which has no module ``slicer.i18n``."""

from __future__ import annotations

import sys
from types import ModuleType


def use_untranslated_texts() -> None:
    """Add a module ``slicer.i18n`` that returns texts unchanged, unless there is one."""
    if "slicer.i18n" not in sys.modules:
        i18n = ModuleType("slicer.i18n")
        i18n.tr = lambda text: text
        sys.modules["slicer.i18n"] = i18n
