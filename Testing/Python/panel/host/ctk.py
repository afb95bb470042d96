"""Stand-ins for the CTK widgets that the panel uses."""

from __future__ import annotations

from typing import ClassVar

import qt
from PySide6 import QtCore, QtWidgets

HEADER_HEIGHT = 26
FOLDED = "hidden_by_folding"


@qt.custom
class ctkCollapsibleButton(QtWidgets.QWidget):
    """A header that shows and hides its content."""

    contentsCollapsed = QtCore.Signal(bool)

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._collapsed = False
        self._header = QtWidgets.QToolButton(self)
        self._header.name = "qt_header"
        self._header.autoRaise = True
        self._header.toolButtonStyle = QtCore.Qt.ToolButtonStyle.ToolButtonTextBesideIcon
        self._header.arrowType = QtCore.Qt.ArrowType.DownArrow
        self._header.clicked.connect(lambda: self._fold(not self._collapsed))
        self.setContentsMargins(6, HEADER_HEIGHT, 4, 4)

    def _fold(self, collapsed: bool) -> None:
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        arrows = QtCore.Qt.ArrowType
        self._header.arrowType = arrows.RightArrow if collapsed else arrows.DownArrow
        # What was hidden before folding stays hidden after unfolding, as in CTK.
        for child in self._inside(folded=not collapsed):
            child.setVisible(not collapsed)
            child.setProperty(FOLDED, collapsed)
        self.setMaximumHeight(HEADER_HEIGHT if collapsed else 16777215)
        self.contentsCollapsed.emit(collapsed)

    def _inside(self, *, folded: bool) -> list[QtWidgets.QWidget]:
        widgets = [w for w in self.children() if isinstance(w, QtWidgets.QWidget)]
        inside = [w for w in widgets if w is not self._header]
        return [w for w in inside if (w.property(FOLDED) if folded else not w.isHidden())]

    def childEvent(self, event: QtCore.QChildEvent) -> None:
        # A .ui file sets ``collapsed`` before it adds the content. A child in the making must not
        # be kept: Python would take it for a plain QWidget ever after.
        child = event.child()
        if self._collapsed and event.added() and isinstance(child, QtWidgets.QWidget):
            child.setVisible(False)
            child.setProperty(FOLDED, True)

    def resizeEvent(self, event: QtCore.QEvent) -> None:
        self._header.setGeometry(0, 0, self.width, HEADER_HEIGHT - 2)

    def _set_title(self, title: str) -> None:
        self._header.text = title

    collapsed = QtCore.Property(bool, lambda self: self._collapsed, _fold)
    text = QtCore.Property(str, lambda self: self._header.text, _set_title)


class ctkMessageBox(QtWidgets.QMessageBox):
    """A question to the user, which is answered at once.

    Attributes:
        answer: What the user presses.
        asked: Texts of all questions.
    """

    answer = QtWidgets.QMessageBox.StandardButton.Ok
    asked: ClassVar[list[str]] = []

    def exec_(self) -> QtWidgets.QMessageBox.StandardButton:
        type(self).asked.append(self.text)
        return type(self).answer
