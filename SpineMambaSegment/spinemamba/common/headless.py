"""Select matplotlib's Agg backend and default style. Standard library only."""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path

RC_FILE = "matplotlibrc"


def use_agg_backend() -> None:
    """Make this process ignore the user's settings of matplotlib.

    Jupyter sets MPLBACKEND for all child processes, to a backend that may be missing here, and a
    matplotlibrc may require LaTeX or be damaged. Figures are drawn by Agg and SVG with the default
    style. Only for processes of this package (worker, command line); call it before matplotlib is
    imported.
    """
    os.environ["MPLBACKEND"] = "agg"
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        return
    defaults = Path(spec.origin).parent / "mpl-data" / RC_FILE
    if not defaults.is_file():
        return
    os.environ["MATPLOTLIBRC"] = str(defaults)
    # A file of that name in the working directory has priority over the variable.
    if Path(RC_FILE).exists():
        folder = Path.cwd()
        os.chdir(defaults.parent)
        try:
            importlib.import_module("matplotlib")
        finally:
            os.chdir(folder)
