"""Every error code has a message and a remedy in the panel."""

from __future__ import annotations

import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
from spinemamba.common.errors import Code, UserError

FAILURES = [code for code in Code if code is not Code.CANCELLED]


@pytest.mark.parametrize("code", FAILURES, ids=lambda code: code.value)
def test_a_failure_shows_code_message_remedy_and_original_message(watched, monkeypatch, code):
    from SpineMambaSegmentLib import Errors

    monkeypatch.setenv("STOP_AT", "locate")
    monkeypatch.setenv("HOW", code.value)
    watched.start("locate")
    watched.wait()
    sentence, remedy = Errors.sentences()[code], Errors.remedies()[code]
    expected = f"{code.value}: {sentence} {remedy}\nThe value is 3."
    assert watched.ui.statusLabel.text == expected
    assert watched.ui.segmentButton.enabled
    watched.assert_nothing_left()


def test_every_code_has_a_message_and_a_remedy(module):
    from SpineMambaSegmentLib import Errors

    sentences, remedies = Errors.sentences(), Errors.remedies()
    assert set(sentences) == set(remedies) == set(Code)
    assert len(set(sentences.values())) == len(Code)
    for code in FAILURES:
        for text in (sentences[code], remedies[code]):
            assert text[0].isupper()
            assert text.endswith(".")


def test_a_script_gets_code_message_and_remedy(volume, module, fake_worker, monkeypatch):
    monkeypatch.setenv("STOP_AT", "locate")
    monkeypatch.setenv("HOW", "NO_SPINE")
    with pytest.raises(UserError, match=r"No spine was found\. Check .* modality") as caught:
        module.SpineMambaSegmentLogic().process(volume)
    assert caught.value.code is Code.NO_SPINE
    assert list(fake_worker.iterdir()) == []
