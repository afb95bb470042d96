"""Generate files from the code: packing list, terminology, tables of the pages, JSON Schemas.

``python Testing/Tools/generate.py`` writes all of them; tests report outdated ones. The package
must be installed (``pip install -e``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spinemamba.anatomy.labels import LABELS
from spinemamba.anatomy.parts import CANAL, DISC, DISC_CODES, PARTS, disc_code
from spinemamba.anatomy.terminology import terminology_entry
from spinemamba.findings.level_flags import LIMITS
from spinemamba.protocol.level_doubt import DOUBT_LIMITS
from spinemamba.protocol.quantities import QUANTITIES

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE = REPOSITORY / "SpineMambaSegment"
CMAKE = MODULE / "CMakeLists.txt"
README = REPOSITORY / "README.md"
DOCS = REPOSITORY / "Resources" / "Docs"
SCHEMAS = DOCS / "schemas"
TERMINOLOGY = MODULE / "Resources" / "Terminology" / "SpineMamba.term.json"

SCHEMA = (
    "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/schemas/segment-context-schema.json#"
)


FLAGS = {
    "cut_by_image": ("the field of view truncates the vertebra", "-"),
    "level_uncertain": (
        f"posterior below {DOUBT_LIMITS.proven:g}, and another level at least "
        f"{DOUBT_LIMITS.close_ratio:g} times as likely; or below {DOUBT_LIMITS.likely:g}",
        "posterior",
    ),
    "level_likely": (f"any other posterior below {DOUBT_LIMITS.proven:g}", "posterior"),
    "two_in_one": (f"chance of two vertebrae above {LIMITS.two_in_one:g}", "probability"),
    "two_cores": (f"second core of at least {LIMITS.two_cores:g} of the first", "share"),
    "volume_outlier": (
        "volume below {:g} or above {:g} times that of complete neighbours".format(
            *LIMITS.volume_outlier
        ),
        "ratio",
    ),
    "volume_unusual": (
        "volume below {:g} or above {:g} times the usual for level and patient".format(
            *LIMITS.volume_unusual
        ),
        "ratio",
    ),
    "spacing_outlier": (
        f"distance to the vertebra above more than {LIMITS.spacing_outlier:g} SD from the usual",
        "SD",
    ),
    "ribs_disagree": (
        "level network: ribs above {:g} at a level without, or below {:g} at one with ribs".format(
            *LIMITS.ribs
        ),
        "probability",
    ),
    "level_gap": ("levels are missing between this vertebra and the one above", "levels missed"),
    "level_twice": ("the vertebra above has the same level", "-"),
    "wrong_order": ("the level is above that of the vertebra above", "-"),
    "several_pieces": (
        f"more than {LIMITS.several_pieces:.1%} of the volume outside the largest piece",
        "share",
    ),
    "loose_pieces_left_out": (
        f"at least {LIMITS.left_out_ml:g} mL in small loose pieces left out of the labels",
        "mL",
    ),
    "neighbour_left_out": (
        "bone of a neighbour whose body the image does not show left out of the labels",
        "mL",
    ),
    "hole": (f"enclosed holes above {LIMITS.hole:.0%} of the volume", "share"),
    "asymmetry": (f"left and right differ by more than {LIMITS.asymmetry:.0%}", "share"),
    "metal": (f"more than {LIMITS.metal_ml:g} mL above {LIMITS.metal_hu:g} HU (CT)", "mL"),
    "missing_slices": ("whole scan: slices between others hold a single value", "-"),
    "upside_down": ("whole scan: levels by appearance run from tail to head", "correlation"),
    "back_to_front": ("whole scan: processes lie in front of the bodies", "mm"),
}
"""Condition and value of each quality flag."""

SKIPPED = re.compile(
    r"__pycache__|\.egg-info|(^|/)(build|dist)/|(^|/)\.|(^|/)CMakeLists\.txt$|\.pyc$"
    # CMake compiles the sources and installs the library itself.
    r"|\.(cpp|h|so|pyd|dylib|dll)$|^spinemamba/selective_scan/kernels/build\.py$"
)


def packed_files() -> tuple[list[str], list[str]]:
    """Return (scripts, resources) below the module folder, with ``/`` in every path."""
    names = sorted(
        path.relative_to(MODULE).as_posix() for path in MODULE.rglob("*") if path.is_file()
    )
    names = [name for name in names if not SKIPPED.search(name)]
    scripts = [name for name in names if name.endswith(".py")]
    return scripts, [name for name in names if not name.endswith(".py")]


def cmake_list(text: str, variable: str) -> list[str]:
    """Return the names listed in ``set(variable ...)``."""
    match = re.search(rf"set\({variable}\n(.*?)\)", text, re.DOTALL)
    if match is None:
        raise ValueError(f"no set({variable} ...) in the text")
    return match.group(1).replace("${MODULE_NAME}", MODULE.name).split()


def with_cmake_list(text: str, variable: str, names: list[str]) -> str:
    """Return the text with another list in ``set(variable ...)``."""
    body = "".join(f"  {name}\n" for name in names)
    return re.sub(rf"set\({variable}\n.*?\)", f"set({variable}\n{body}  )", text, flags=re.DOTALL)


def label_table() -> str:
    """Return the table of levels, from head to tail."""
    heads = ("level", "value", "SNOMED CT", "colour")
    rows = []
    for label in LABELS:
        color = "#{:02X}{:02X}{:02X}".format(*label.color)
        rows.append((label.name, label.value, label.snomed or "-", f"`{color}`"))
    return table(heads, rows)


def quantity_table() -> str:
    """Return the table of measured quantities: definition, unit, and when a value is missing."""
    heads = ("of", "quantity", "unit", "definition", "missing if")
    rows = [(q.kind, q.head, q.unit or "-", q.how, q.missing) for q in QUANTITIES]
    return table(heads, rows)


def flag_table() -> str:
    """Return the table of quality flags with their thresholds."""
    heads = ("flag", "raised if", "value")
    return table(heads, [(f"`{name}`", *FLAGS[name]) for name in FLAGS])


def table(heads: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    """Return a Markdown table, with a line feed at its end."""
    lines = [heads, ("---",) * len(heads), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


SECTIONS: tuple[tuple[Path, str, Callable[[], str]], ...] = (
    (DOCS / "levels-and-flags.md", "labels", label_table),
    (DOCS / "levels-and-flags.md", "flags", flag_table),
    (DOCS / "measurements.md", "quantities", quantity_table),
)
"""Page, name and content of every section that is generated from the code alone."""


def section(text: str, name: str) -> str:
    """Return the text between ``<!-- name -->`` and ``<!-- /name -->``."""
    match = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, re.DOTALL)
    if match is None:
        raise ValueError(f"no section {name}")
    return match.group(1)


def with_section(text: str, name: str, body: str) -> str:
    """Return the text with a new body between ``<!-- name -->`` and ``<!-- /name -->``.

    Raises:
        ValueError: If the text does not have the marks exactly once.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, rest = text.split(begin)
    return before + begin + body + end + rest.split(end)[1]


def write_section(page: Path, name: str, body: str) -> None:
    """Replace a section of a page by text without a line feed at its end."""
    text = with_section(page.read_text(encoding="utf-8"), name, body + "\n")
    page.write_text(text, encoding="utf-8", newline="\n")


def terminology_file() -> dict[str, Any]:
    """Return the content of the .term.json that offers levels in Slicer's terminology selector.

    The entries equal those that `terminology_entry` and `part_info` give to segments. A level
    without a code of its own is a modifier of the type "Vertebra", a side one of its part.
    """
    types: dict[str, dict[str, Any]] = {}
    context = category = ""
    for label in LABELS:
        context, category, kind, modifier, *_ = terminology_entry(label).split("~")
        shown = {
            "3dSlicerLabel": label.name,
            "recommendedDisplayRGBValue": list(label.color),
        }
        _add_type(types, kind, modifier, shown)
    for part in (*PARTS, CANAL):
        shown = {"3dSlicerLabel": part.name, "recommendedDisplayRGBValue": list(part.color)}
        _add_type(types, part.code, part.modifier_code, shown)
    for levels in DISC_CODES:
        code = disc_code(*levels)
        shown = {
            "3dSlicerLabel": code.split("^")[2],
            "recommendedDisplayRGBValue": list(DISC.color),
        }
        _add_type(types, code, "^^", shown)
    codes = _code(category) | {"showAnatomy": False, "Type": list(types.values())}
    return {
        "SegmentationCategoryTypeContextName": context,
        "@schema": SCHEMA,
        "SegmentationCodes": {"Category": [codes]},
    }


def _add_type(
    types: dict[str, dict[str, Any]], kind: str, modifier: str, shown: dict[str, Any]
) -> None:
    """Add a type to those of the terminology file, or a modifier to a type."""
    if modifier == "^^":
        types[kind] = types.get(kind, _code(kind)) | shown
        return
    parent = types.setdefault(kind, _code(kind))
    parent.setdefault("Modifier", []).append(_code(modifier) | shown)


def _code(text: str) -> dict[str, Any]:
    """Return a code ``scheme^value^meaning`` in the form of Slicer's terminology files."""
    scheme, value, meaning = text.split("^")
    return {"CodingSchemeDesignator": scheme, "CodeValue": value, "CodeMeaning": meaning}


def terminology_text() -> str:
    """Return the text of the terminology file."""
    return json.dumps(terminology_file(), indent=1) + "\n"


def schema_files() -> dict[Path, str]:
    """Return the path and the content of every JSON Schema file."""
    # Loads PyTorch, which other parts of this file do without.
    from json_schemas import FORMATS, schema_text

    return {SCHEMAS / f"{name}.schema.json": schema_text(form) for name, form in FORMATS.items()}


def main() -> None:
    """Write all generated files."""
    SCHEMAS.mkdir(exist_ok=True)
    for path, text in schema_files().items():
        path.write_text(text, encoding="utf-8", newline="\n")
    TERMINOLOGY.write_text(terminology_text(), encoding="utf-8", newline="\n")
    text = CMAKE.read_text(encoding="utf-8")
    variables = ("MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES")
    for variable, names in zip(variables, packed_files(), strict=True):
        text = with_cmake_list(text, variable, names)
    CMAKE.write_text(text, encoding="utf-8", newline="\n")
    for page, name, content in SECTIONS:
        text = with_section(page.read_text(encoding="utf-8"), name, content())
        page.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
