"""All texts for users can be translated."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

MODULE = Path(__file__).resolve().parents[3] / "SpineMambaSegment"
FILES = [MODULE / "SpineMambaSegment.py", *sorted((MODULE / "SpineMambaSegmentLib").rglob("*.py"))]
FOR_DEVELOPERS = ("ValueError", "exception", "info")
"""Functions whose texts are for the log; every call of ``_`` or ``translate`` is translated."""
TRANSLATED = ("_", "translate")
NOT_TEXTS = {"Diagnostics.py", "Files.py"}
"""A report that developers read, and a file format; their own errors are looked at below."""
NAMES = {"SpineMamba Segment", "SpineMamba Segment contributors", "color: #2e8b57"}
NAMES |= {"color: #d9483b", "no answer", "SpineMamba clicks", "%d %b", "%d %b %Y, %H:%M"}
NAMES |= {
    "background: #fff3cd; color: #4d3800; border: 1px solid #e0b84c; padding: 5px;",
}


def untranslated(code: str) -> set[str]:
    """Return the texts of a file that hold more than a word and do not go through ``_``."""
    found: set[str] = set()
    _look(ast.parse(code), found)
    return found


def _look(node: ast.AST, found: set[str]) -> None:
    if isinstance(node, ast.Call) and _name(node.func) in (*TRANSLATED, *FOR_DEVELOPERS):
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    if is_text and " " in node.value.strip() and any(c.isalpha() for c in node.value):
        found.add(node.value)
    for child in ast.iter_child_nodes(node):
        _look(child, found)


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_text_for_users_goes_through_translation(path: Path):
    if path.name not in NOT_TEXTS:
        assert untranslated(path.read_text("utf-8")) - NAMES == set()


def test_an_untranslated_text_is_detected():
    code = "label.text = 'Press it'\nsay(_('Press it now'))\nraise ValueError('a bug of ours')"
    assert untranslated(code) == {"Press it"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_texts_to_translate_are_constants(path: Path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and _name(node.func) in TRANSLATED:
            # Slicer's translators see only constants; values come in with format afterwards.
            assert all(isinstance(argument, ast.Constant) for argument in node.args), node.lineno
