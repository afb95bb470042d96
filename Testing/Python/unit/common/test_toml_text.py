"""The writer of TOML: what the standard library reads back is what was written."""

from __future__ import annotations

import math

import pytest

from spinemamba.common.toml_text import toml_text

tomllib = pytest.importorskip("tomllib")

VALUES = {
    "numbers": {"a": 0, "b": -3, "c": 10**18},
    "fractions": {"a": 0.1, "b": 1e-9, "c": -2.5e30, "d": 1.0, "e": 0.30000000000000004},
    "truth": {"a": True, "b": False},
    "texts": {
        "a": "",
        "b": 'quote " and \\ backslash',
        "c": "line\nfeed\ttab\rreturn",
        "d": "Wirbelsäule ½ 脊柱 🦴",
        "e": "\x00\x1f\x7f\x80",
        "f": "# no comment [no table]",
    },
    "lists": {"a": [], "b": [1, 2], "c": ["x", 'y"'], "d": [[1.0, 2.0], [3.0]], "e": (1, 2)},
    "names": {"with space": 1, "dot.ted": 2, 'quo"te': 3, "ä": 4, "": 5},
    "tables": {"a": {"b": {"c": 1}, "d": 2}, "e": {}},
}


@pytest.mark.parametrize("name", VALUES)
def test_every_value_is_read_back(name: str):
    def plain(value: object) -> object:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, list | tuple) else value

    content = {name: VALUES[name]}
    assert tomllib.loads(toml_text(content)) == plain(content)


def test_comments_stand_above_their_entries_and_are_wrapped():
    text = toml_text({"a": {"b": 1}}, {"a.b": "word " * 40, "a": "A table.\nTwo lines."})
    assert tomllib.loads(text) == {"a": {"b": 1}}
    assert max(map(len, text.splitlines())) <= 100
    assert text.index("# A table. Two lines.") < text.index("[a]") < text.index("# word")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, object(), {1, 2}])
def test_what_toml_cannot_hold_is_refused(value: object):
    with pytest.raises(ValueError, match=r"^a\.b is "):
        toml_text({"a": {"b": value}})


def test_an_entry_without_a_value_is_left_out():
    assert tomllib.loads(toml_text({"a": None, "b": 1})) == {"b": 1}
