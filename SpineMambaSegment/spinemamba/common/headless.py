"""Let matplotlib draw into files, whatever the user has set for plots. Standard library only."""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path

RC_FILE = "matplotlibrc"


def use_agg_backend() -> None:
    """Keep the user's settings of matplotlib out of this process.

    Jupyter sets MPLBACKEND for all processes that it starts, to a backend that may be missing
    here, and a matplotlibrc can ask for LaTeX or be damaged. Our figures are drawn by Agg and SVG
    with the defaults. For processes of our own only (worker, shell); must run before matplotlib
    is imported.
    """
    os.environ["MPLBACKEND"] = "agg"
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        return
    defaults = Path(spec.origin).parent / "mpl-data" / RC_FILE
    if not defaults.is_file():
        return
    os.environ["MATPLOTLIBRC"] = str(defaults)
    # A file of that name in the working folder comes before the variable.
    if Path(RC_FILE).exists():
        folder = Path.cwd()
        os.chdir(defaults.parent)
        try:
            importlib.import_module("matplotlib")
        finally:
            os.chdir(folder)
