"""Run a measurement, or a fit of parameters: ``python Testing/Benchmarks/run.py NAME [ARGS]``.

Without a name it lists all of them; ``NAME --help`` describes one. The package must be installed
(``pip install -e``); the folders of helpers are added to the import path here, and only here.
Measurements with real data read ``SPINEMAMBA_DATA``, or shared/data beside the checkout.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

TESTING = Path(__file__).resolve().parents[1]
MODULE = TESTING.parent / "SpineMambaSegment"
"""Folder of the module's own packages, which only Slicer installs."""

FOLDERS = ("Fitting", "Tools", "Python/helpers", "Python/mrml", "Python/panel", "Python/panel/host")
"""Folders of the modules that measurements import, besides this one."""

MEASUREMENTS = {
    "accuracy": "Dice, names, time and memory of the bundled model on real cases; writes "
    "README.md, benchmarks.md and the model card",
    "ablation": "networks without parts, and DynUNet, trained on the same patches; writes the "
    "model card",
    "hard_cases": "the bundled model on difficult phantoms; writes the model card and its pictures",
    "instance_separation": "separation of vertebrae given bone and cores; its time and memory",
    "resegmentation": "adding and splitting single vertebrae in review",
    "measurement_error": "heights, slips and Cobb angles of analytic spines",
    "parts": "parts of vertebrae against TPTBox's sub-regions and phantoms; time of a chest",
    "pedicles": "pedicles of analytic vertebrae, and screw corridors of real label maps",
    "measure_agreement": "share of measurements of own labels that agree with reference labels "
    "within their uncertainties",
    "surface_quality": "surfaces exported from real label maps",
    "export_speed": "time of the export of 24 vertebrae",
    "review_latency": "response time of every action of the review; needs slicer-core",
    "panel_latency": "longest time for which the panel blocks Slicer, in a run and after edits; "
    "needs slicer-core and PySide6",
    "cohort_speed": "throughput of 'cohort' against a loop over 'segment' on crops of real CTs",
    "triage_page": "size of a triage page of 50 real cases, time to open it and to go from case to "
    "case, memory of the tab; needs playwright, ipyniivue and Chromium",
    "level_calibration": "right names on simulated chains, by their probability",
    "mr_level_calibration": "right names of parts of spines in MR, by their probability",
    "server_load": "many clients of one server at once: lost jobs, response time of polls, memory",
    "pin_latency": "time of the level solver after a level is pinned",
    "gpu_check": "scan back ends, a whole CT, and 100 training steps on an NVIDIA GPU; writes "
    "benchmarks.md",
    "speed_table": "tables of network sizes and of what 'spinemamba bench --json' measured; writes "
    "benchmarks.md",
    "fit_cut_surfaces": "fit of the mean cut surfaces between vertebrae; prints the table",
    "fit_boundary_net": "fit of the boundary network; writes its weights, or tests left-out cases",
}
"""What each module measures or fits, and the pages that it writes."""


def main(words: list[str]) -> int:
    """Run what the first word names with the other words; return the exit status."""
    if not words or words[0] not in MEASUREMENTS:
        width = max(map(len, MEASUREMENTS))
        lines = [f"{name:{width}}  {text}" for name, text in MEASUREMENTS.items()]
        out = sys.stderr if words and words[0] not in ("-h", "--help") else sys.stdout
        out.write("\n".join([__doc__.splitlines()[0], "", *lines, ""]))
        return 0 if out is sys.stdout else 2
    sys.path[1:1] = [str(MODULE), *(str(TESTING / folder) for folder in FOLDERS)]
    if words[0] == "review_latency":
        # Modules of the panel import slicer.i18n, which slicer-core lacks.
        importlib.import_module("untranslated_slicer").use_untranslated_texts()
    return importlib.import_module(words[0]).main(words[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
