"""What is derived from other files: the packing list, the label table and the terminology file.

``python Testing/Tools/generate.py`` writes all of them anew; the tests say when that is due.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE = REPOSITORY / "SpineMambaSegment"
CMAKE = MODULE / "CMakeLists.txt"
README = REPOSITORY / "README.md"
TERMINOLOGY = MODULE / "Resources" / "Terminology" / "SpineMamba.term.json"

SCHEMA = (
    "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/schemas/segment-context-schema.json#"
)

sys.path.insert(0, str(MODULE))

from spinemamba.anatomy.labels import LABELS  # noqa: E402 - the path is set just above
from spinemamba.anatomy.terminology import terminology_entry  # noqa: E402

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
    """Return what ``set(variable ...)`` lists."""
    match = re.search(rf"set\({variable}\n(.*?)\)", text, re.DOTALL)
    if match is None:
        raise ValueError(f"no set({variable} ...) in the text")
    return match.group(1).replace("${MODULE_NAME}", MODULE.name).split()


def with_cmake_list(text: str, variable: str, names: list[str]) -> str:
    """Return the text with another list in ``set(variable ...)``."""
    body = "".join(f"  {name}\n" for name in names)
    return re.sub(rf"set\({variable}\n.*?\)", f"set({variable}\n{body}  )", text, flags=re.DOTALL)


def label_table() -> str:
    """Return README's label table, from head to tail."""
    rows = ["| level | number | SNOMED CT | color |", "|---|---|---|---|"]
    for label in LABELS:
        color = "#{:02X}{:02X}{:02X}".format(*label.color)
        rows.append(f"| {label.name} | {label.value} | {label.snomed or '-'} | `{color}` |")
    return "\n".join(rows) + "\n"


def section(text: str, name: str) -> str:
    """Return what stands between ``<!-- name -->`` and ``<!-- /name -->``."""
    match = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, re.DOTALL)
    if match is None:
        raise ValueError(f"no section {name}")
    return match.group(1)


def with_section(text: str, name: str, body: str) -> str:
    """Return the text with something else between ``<!-- name -->`` and ``<!-- /name -->``."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, rest = text.split(begin)
    return before + begin + body + end + rest.split(end)[1]


def terminology_file() -> dict[str, Any]:
    """Return the content of the .term.json that offers levels in Slicer's terminology selector.

    Every entry is what `terminology_entry` puts on a segment. A level without a code of its own
    is a modifier of the type "Vertebra" there, so it is one here.
    """
    types: dict[str, dict[str, Any]] = {}
    context = category = ""
    for label in LABELS:
        context, category, kind, modifier, *_ = terminology_entry(label).split("~")
        shown = {
            "3dSlicerLabel": label.name,
            "recommendedDisplayRGBValue": list(label.color),
        }
        if modifier == "^^":
            types[kind] = _code(kind) | shown
        else:
            parent = types.setdefault(kind, _code(kind) | {"Modifier": []})
            parent["Modifier"].append(_code(modifier) | shown)
    codes = _code(category) | {"showAnatomy": False, "Type": list(types.values())}
    return {
        "SegmentationCategoryTypeContextName": context,
        "@schema": SCHEMA,
        "SegmentationCodes": {"Category": [codes]},
    }


def _code(text: str) -> dict[str, Any]:
    """Return a ``scheme^value^meaning`` as Slicer's terminology files write it."""
    scheme, value, meaning = text.split("^")
    return {"CodingSchemeDesignator": scheme, "CodeValue": value, "CodeMeaning": meaning}


def terminology_text() -> str:
    """Return the terminology file as it is written."""
    return json.dumps(terminology_file(), indent=1) + "\n"


def main() -> None:
    """Write everything that is derived."""
    TERMINOLOGY.write_text(terminology_text(), encoding="utf-8", newline="\n")
    text = CMAKE.read_text(encoding="utf-8")
    variables = ("MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES")
    for variable, names in zip(variables, packed_files(), strict=True):
        text = with_cmake_list(text, variable, names)
    CMAKE.write_text(text, encoding="utf-8", newline="\n")
    text = README.read_text(encoding="utf-8")
    README.write_text(with_section(text, "labels", label_table()), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
