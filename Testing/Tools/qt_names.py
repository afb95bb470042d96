"""Collect from header files what Python code can use of Qt, CTK and Slicer inside Slicer.

PythonQt offers the properties, signals, slots and invokable functions that a class declares, and
what its generated wrappers add. This tool reads them and writes `qt_names.json`, with which tests
compare the names in the panel's code:

    python Testing/Tools/qt_names.py --qt QT5_INCLUDE --pythonqt CLONE:COMMIT CLONE:COMMIT
        --ctk CLONE:COMMIT --slicer CLONE:5.10 CLONE:5.12

Where there are two commits, a name must be in both. Classes are those that Slicer's own Python
files use, and their base classes. Facts are taken, no text: the headers have their own licences.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

OUTPUT = Path(__file__).with_name("qt_names.json")
USED = re.compile(r"\b(?:qt\.(Q\w+)|ctk\.(ctk\w+)|slicer\.(q(?:MRML|Slicer)\w+))")
ALWAYS = (
    "QClipboard", "QProgressBar", "QPlainTextEdit", "QToolButton", "QPainter", "QPixmap", "Qt",
    "QMainWindow", "QStatusBar", "QItemSelectionModel", "QMenu", "QAction", "QTableWidget",
    "QTableWidgetItem",
    "qSlicerApplication", "qSlicerLayoutManager", "qSlicerModuleManager", "qSlicerMainWindow",
    "qMRMLThreeDWidget", "qMRMLThreeDView", "qMRMLSliceWidget", "qMRMLSliceView",
    "qMRMLSegmentEditorWidget", "qMRMLNodeComboBox", "qMRMLWidget", "qSlicerModuleSelectorToolBar",
    "qSlicerScriptedLoadableModuleWidget", "ctkCollapsibleButton", "ctkPathLineEdit",
    "ctkDirectoryButton", "ctkMessageBox", "qMRMLSegmentationShow3DButton",
    "qSlicerSubjectHierarchyScriptedPlugin", "ctkDICOMDatabase",
)  # fmt: skip
"""Classes of the panel and of the application, whether Slicer's Python files name them or not."""

CLASS = re.compile(
    r"\bclass\s+(?:[A-Z_0-9]+_EXPORT\s+)?(\w+)\s*(?:final\s*)?"
    r"(?::\s*((?:public|private)\s+[^{;]*))?\{"
)
SECTION = re.compile(
    r"^\s*(?:(public|protected|private)(\s+(?:Q_SLOTS|slots))?|(Q_SIGNALS|signals))\s*:", re.M
)
DEPRECATED = re.compile(r"\bQT_DEPRECATED\w*(?:\s*\((?:[^()]|\([^()]*\))*\))?")
WRAPPER = re.compile(r"class PythonQtWrapper_(\w+) : public QObject\n\{(.*?)\n\};", re.S)
ENUM = re.compile(r"\benum (\w+)\s*\{(.*?)\}", re.S)


class Names:
    """One class: its base classes, what Python can use of it, and signatures of its signals."""

    def __init__(
        self, bases: Iterable[str] = (), names: Iterable[str] = (), signals: Iterable[str] = ()
    ):
        self.bases, self.names, self.signals = tuple(bases), set(names), set(signals)

    def add(self, other: Names) -> None:
        """Join with another source of the same class."""
        self.bases = self.bases or other.bases
        self.names |= other.names
        self.signals |= other.signals


def git(source: str, *arguments: str) -> str:
    """Run git for ``CLONE:COMMIT``; the commit replaces ``{}`` in the arguments."""
    folder, _, commit = source.rpartition(":")
    command = ["git", "-C", folder, *(a.format(commit) for a in arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def headers_of(source: str, pattern: str) -> dict[str, str]:
    """Return the headers of a commit whose path matches a pattern, by path."""
    paths = git(source, "ls-tree", "-r", "--name-only", "{}").splitlines()
    return {p: git(source, "show", f"{{}}:{p}") for p in paths if re.search(pattern, p)}


def body_at(text: str, start: int) -> str:
    """Return the text between a brace that opens before ``start`` and the one that closes it."""
    depth, end = 1, start
    while depth and end < len(text):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        end += 1
    return text[start : end - 1]


def without_bodies(text: str) -> str:
    """Return declarations without comments, directives and the bodies of inline functions."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/|^\s*#[^\n]*", "", text, flags=re.S | re.M)
    while "{" in text:
        text, before = re.sub(r"\{[^{}]*\}", ";", text), text
        if text == before:
            break
    return text


def signatures(declaration: str) -> set[str]:
    """Return the signatures of a signal as Qt normalises them, one per omitted default argument."""
    match = re.search(r"(\w+)\s*\((.*)\)", declaration, re.S)
    if match is None:
        return set()
    kinds, found = [], set()
    for argument in re.split(r",(?![^<]*>)", match.group(2)):
        before, default, _ = argument.partition("=")
        kind = re.sub(r"\bconst\b|&", " ", before)
        kind = re.sub(r"\s*\*\s*", "* ", kind).strip()
        kind = re.sub(r"(?<=[\w>*])\s+\w+$", "", kind).strip()
        if default:
            found.add(f"{match.group(1)}({','.join(kinds)})")
        if kind and kind != "QPrivateSignal":
            kinds.append(kind)
    return {*found, f"{match.group(1)}({','.join(kinds)})"}


def declared(text: str) -> dict[str, Names]:
    """Return the classes of a header with what Qt's meta-object system knows of them."""
    clean = re.sub(r"//[^\n]*|/\*.*?\*/|^[ \t]*#[^\n]*", "", text, flags=re.S | re.M)
    clean = DEPRECATED.sub("", clean)
    found: dict[str, Names] = {}
    for match in CLASS.finditer(clean):
        body = body_at(clean, match.end())
        names = set(re.findall(r"Q_PROPERTY\(\s*[\w:<>, ]+?[\s*&]+(\w+)\s+(?:READ|MEMBER)", body))
        names |= set(re.findall(r"Q_INVOKABLE[^;{(]*?(\w+)\s*\(", body))
        for enum in ENUM.findall(body):
            names |= set(re.findall(r"^\s*(\w+)", enum[1].replace(",", "\n"), re.M))
        signals: set[str] = set()
        sections = list(SECTION.finditer(body))
        for k, section in enumerate(sections):
            if not section.group(2) and not section.group(3):
                continue
            if section.group(1) in ("protected", "private"):
                continue
            end = sections[k + 1].start() if k + 1 < len(sections) else len(body)
            for statement in without_bodies(body[section.end() : end]).split(";"):
                name = re.search(r"(\w+)\s*\(", statement)
                names |= {name.group(1)} if name else set()
                signals |= signatures(statement) if section.group(3) else set()
        bases = re.findall(r"public\s+(\w+)", match.group(2) or "")
        entry = Names(bases, names, signals)
        found.setdefault(match.group(1), Names()).add(entry)
    return found


def wrapped(text: str) -> dict[str, Names]:
    """Return the classes of a generated header with what PythonQt's wrappers add."""
    found = {}
    for kind, body in WRAPPER.findall(text):
        names = set()
        for name in re.findall(r"^ *[\w:<>,*& ]*?(\w+)\(", body, re.M):
            if not name.startswith(("new_", "delete_", "py_q_", "Q_")):
                names.add(name.removeprefix(f"static_{kind}_"))
        for _, entries in ENUM.findall(body):
            names |= set(re.findall(r"(\w+) = ", entries))
        found[kind] = Names((), names)
    return found


def joined(parts: Iterable[dict[str, Names]]) -> dict[str, Names]:
    """Join the classes of several headers."""
    found: dict[str, Names] = {}
    for part in parts:
        for kind, names in part.items():
            found.setdefault(kind, Names()).add(names)
    return found


def common(versions: list[dict[str, Names]]) -> dict[str, Names]:
    """Return what all versions have."""
    first, *others = versions
    found = {}
    for kind, entry in first.items():
        if all(kind in other for other in others):
            names = entry.names.intersection(*(other[kind].names for other in others))
            signals = entry.signals.intersection(*(other[kind].signals for other in others))
            found[kind] = Names(entry.bases, names, signals)
    return found


def collect(options: argparse.Namespace) -> dict[str, Names]:
    """Read all sources, and return the classes in use with their base classes."""
    qt = joined(declared(p.read_text("utf-8")) for p in sorted(options.qt.rglob("q*.h")))
    wrappers = common(
        [
            joined(map(wrapped, headers_of(s, r"generated_cpp_515/.*(core|gui)\d*\.h$").values()))
            for s in options.pythonqt
        ]
    )
    ctk = joined(map(declared, headers_of(options.ctk, r"^Libs/.*/ctk\w+\.h$").values()))
    pattern = r"^(Base|Libs|Modules/Loadable)/.*/q(MRML|Slicer)\w+\.h$"
    slicer = common(
        [joined(map(declared, headers_of(s, pattern).values())) for s in options.slicer]
    )
    every = joined([qt, wrappers, ctk, slicer, {"Qt": namespace_of(options.qt)}])
    wanted = set(ALWAYS)
    for source in options.slicer:
        text = git(source, "grep", "-ohE", r"(qt\.Q|ctk\.ctk|slicer\.q)\w+", "{}", "--", "*.py")
        wanted |= {name for match in USED.findall(text) for name in match if name}
    waiting = list(wanted)
    while waiting:
        kind = waiting.pop()
        bases = every[kind].bases if kind in every else ()
        waiting += [base for base in bases if base not in wanted]
        wanted |= set(bases)
    return {kind: every[kind] for kind in sorted(wanted) if kind in every}


def namespace_of(folder: Path) -> Names:
    """Return the enumerators of the namespace Qt, which PythonQt offers as ``qt.Qt``."""
    (path,) = folder.rglob("qnamespace.h")
    names: set[str] = set()
    for _, entries in ENUM.findall(re.sub(r"//[^\n]*|/\*.*?\*/", "", path.read_text(), flags=re.S)):
        names |= set(re.findall(r"^\s*(\w+)", entries.replace(",", "\n"), re.M))
    return Names((), names)


def functions_of(source: str) -> set[str]:
    """Return the names that slicer.util defines."""
    text = git(source, "show", "{}:Base/Python/slicer/util.py")
    return set(re.findall(r"^(?:def|class) ([A-Za-z]\w*)", text, re.M))


def main() -> None:
    """Read the headers named on the command line, and write the names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--qt", type=Path, required=True, help="include folder of Qt 5.15")
    parser.add_argument("--pythonqt", nargs="+", required=True, help="CLONE:COMMIT")
    parser.add_argument("--ctk", required=True, help="CLONE:COMMIT")
    parser.add_argument("--slicer", nargs="+", required=True, help="CLONE:COMMIT")
    options = parser.parse_args()
    found = collect(options)
    commits = [*options.pythonqt, options.ctk, *options.slicer]
    content = {
        "sources": {c.rpartition(":")[2]: git(c, "rev-parse", "{}").strip() for c in commits},
        "slicer.util": sorted(set.intersection(*map(functions_of, options.slicer))),
        "classes": {
            kind: {"bases": n.bases, "names": sorted(n.names), "signals": sorted(n.signals)}
            for kind, n in found.items()
        },
    }
    lines = json.dumps(content, indent=1)
    compact = re.sub(r"\[\s+([^\]]*?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", lines)
    OUTPUT.write_text(f"{compact}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
