"""All texts for users can be translated."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

MODULE = Path(__file__).resolve().parents[3] / "SpineMambaSegment"
FILES = [MODULE / "SpineMambaSegment.py", *sorted((MODULE / "SpineMambaSegmentLib").rglob("*.py"))]
FOR_DEVELOPERS = ("ValueError", "exception", "info")
"""Functions whose texts are for the log; every call of ``_`` or ``translate`` is translated."""
TRANSLATED = ("_", "translate")
NOT_TEXTS = {"Diagnostics.py", "Files.py"}
"""A report that developers read, and a file format; their own errors are looked at below."""
NAMES = {"SpineMamba Segment", "SpineMamba Segment contributors"}
NAMES |= {'<a href="{}">', "no answer", "SpineMamba clicks", "%d %b", "%d %b %Y, %H:%M"}
NAMES |= {"Temporary failure in name resolution", "getaddrinfo failed", "Network is unreachable"}


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


JOINED = {
    "/Model",
    "/Device",
    "spine_report",
    "spine",
    "insert",
    ".svg",
    "status-",
    "..partial",
    "frame-",
}
JOINED |= {"GetSegment", "SetSegment"}
JOINED |= {"V", "Difference", "spinemamba.", ".partial-", "Export/", "Folder/"}
"""Names of files, settings, IDs and methods that are joined from parts; no texts for users."""
SHOWN = re.compile(r"(title|titles|text|texts|tip|toolTip|labelText|windowTitle|_TITLES)$")
"""Variables and attributes whose value is displayed."""
SHOWING = {"say", "_say", "_report", "setText", "addAction", "UserError", "errorDisplay"}
SHOWING |= {"confirmOkCancelDisplay", "infoDisplay", "showStatusMessage", "setToolTip", "Warning"}
"""Functions that display their arguments."""


def joined(code: str) -> set[str]:
    """Return the words of f-strings, which no translator sees."""
    found: set[str] = set()
    _look_joined(ast.parse(code), found)
    return {text for text in found if any(c.isalpha() for c in text)}


def _look_joined(node: ast.AST, found: set[str]) -> None:
    if isinstance(node, ast.Call) and _name(node.func) in FOR_DEVELOPERS:
        return
    if isinstance(node, ast.FormattedValue):  # without its format, which is an f-string, too
        _look_joined(node.value, found)
        return
    if isinstance(node, ast.JoinedStr):
        parts = [part.value for part in node.values if isinstance(part, ast.Constant)]
        found.add("".join(parts))
    for child in ast.iter_child_nodes(node):
        _look_joined(child, found)


def bare_words(code: str) -> set[str]:
    """Return displayed words that do not go through ``_``: titles, tooltips, messages."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        values: list[ast.expr] = []
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(SHOWN.search(_target(target)) for target in targets):
                values = [node.value]
        if isinstance(node, ast.Call) and _name(node.func) in SHOWING:
            values = [*node.args, *(word.value for word in node.keywords)]
        if isinstance(node, ast.FunctionDef) and SHOWN.search(node.name):
            returns = [n for n in ast.walk(node) if isinstance(n, ast.Return)]
            values = [n.value for n in returns if n.value is not None]
        for value in values:
            found |= set(_words(value))
    return found


def _words(value: ast.expr) -> Iterator[str]:
    """Yield the constants that an expression may evaluate to, without arguments of calls."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        if any(c.isalpha() for c in value.value):
            yield value.value
    elif isinstance(value, ast.IfExp):
        yield from [*_words(value.body), *_words(value.orelse)]
    elif isinstance(value, ast.BoolOp | ast.Tuple | ast.List):
        for part in value.values if isinstance(value, ast.BoolOp) else value.elts:
            yield from _words(part)
    elif isinstance(value, ast.Dict):
        for part in value.values:
            yield from _words(part)


def _target(target: ast.expr) -> str:
    return target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_displayed_text_is_joined_or_a_bare_word(path: Path):
    if path.name not in NOT_TEXTS:
        code = path.read_text("utf-8")
        assert joined(code) - JOINED == set()
        assert bare_words(code) - NAMES == set()


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("title = f'Insert {level}'", {"Insert "}),
        ("title = f'{level}: {count:.1f}'", set()),
        ("title = 'Merge'", {"Merge"}),
        ("title: str = 'Merge'", {"Merge"}),
        ("title = _('Merge')", set()),
        ("_TITLES = {APPROVED: 'Approve', FLAGGED: _('Flag')}", {"Approve"}),
        ("button.toolTip = tip or 'Wait'", {"Wait"}),
        ("say('Done' if done else _('Busy'))", {"Done"}),
        ("def title(self):\n    return 'Delete'", {"Delete"}),
        ("name = 'V20'", set()),
    ],
)
def test_joined_texts_and_bare_words_are_detected(code: str, found: set[str]):
    assert joined(code) | bare_words(code) == found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_texts_to_translate_are_constants(path: Path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and _name(node.func) in TRANSLATED:
            # Slicer's translators see only constants; values come in with format afterwards.
            assert all(isinstance(argument, ast.Constant) for argument in node.args), node.lineno
