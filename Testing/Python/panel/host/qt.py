"""Slicer's flat ``qt`` module on PySide6."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import pythonqt
from PySide6 import QtCore, QtUiTools, QtWidgets

for _module in pythonqt.MODULES:
    # PySide6 makes its classes when they are asked for: vars() would not have them.
    globals().update({k: getattr(_module, k) for k in dir(_module) if not k.startswith("_")})

CUSTOM: dict[str, type[QtWidgets.QWidget]] = {}
"""Widgets of Slicer and CTK that a .ui file may name."""


def custom(kind: type) -> type:
    """Offer a class to .ui files."""
    CUSTOM[kind.__name__] = kind
    return kind


class QUiLoader(QtUiTools.QUiLoader):
    """Knows the custom widgets, and makes a file's connections between them."""

    def load(self, device: QtCore.QIODevice, parent: QtWidgets.QWidget | None = None) -> Any:
        """Return the top widget of a .ui file.

        Raises:
            ValueError: If a connection names a widget that is not there.
        """
        root = ElementTree.fromstring(bytes(device.readAll()))
        names = ("sender", "signal", "receiver", "slot")
        connections = [[c.findtext(n) for n in names] for c in root.iter("connection")]
        # PySide6 looks for the slots of classes written in Python in vain.
        for element in root.findall("connections"):
            root.remove(element)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        self.__dict__["made"] = []
        top = super().load(buffer, parent)
        widgets = {w.name: w for w in [top, *top.findChildren(QtCore.QObject)] if w.name}
        for sender, signal, receiver, slot in connections:
            if sender not in widgets or receiver not in widgets:
                raise ValueError(f"connection {sender} -> {receiver}: no such widget")
            method = getattr(widgets[receiver], slot.partition("(")[0])
            widgets[sender].connect(signal, method)
        # Python's side of these widgets must live as long as the widgets.
        top.__dict__["made"] = self.__dict__["made"]
        return top

    def createWidget(self, className: str, parent: Any = None, name: str = "") -> Any:
        """Make one widget; called by ``load``.

        Raises:
            ValueError: If the class is neither Qt's nor known here.
        """
        if className not in CUSTOM:
            if not className.startswith("Q"):
                raise ValueError(f"the test host has no {className}")
            return super().createWidget(className, parent, name)
        widget = CUSTOM[className](parent)
        widget.name = name
        self.__dict__["made"].append(widget)
        return widget
