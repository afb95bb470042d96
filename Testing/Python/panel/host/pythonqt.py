"""PySide6 made to behave as PythonQt, the Qt of Slicer; must be imported before any Qt class.

Qt properties are attributes (``button.text = "x"``), signals connect by their C++ signature,
``name`` is the object's name, and a typo is an error: PythonQt creates no attributes on Qt's own
objects. Shiboken caches look-ups, so a class is patched before its first use, and each class
for itself: changes do not reach its subclasses.
"""

from __future__ import annotations

import importlib
import re
import sys
import types
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from PySide6 import QtCore

sys.path.append(str(Path(__file__).parents[2] / "helpers"))
from pythonqt_names import CLASSES, has, signals_of

MODULES = [
    importlib.import_module(f"PySide6.{name}")
    for name in ("QtCore", "QtGui", "QtWidgets", "QtUiTools", "QtTest")
]
QObject = QtCore.QObject
SIGNATURE = re.compile(r"\s*(\w+)\s*(?:\((.*)\))?\s*")

_property, _set_property = QObject.property, QObject.setProperty
_object_name, _set_object_name = QObject.objectName, QObject.setObjectName
_connect, _disconnect = QObject.connect, QObject.disconnect

# Virtual getters: Shiboken looks for an override in Python, and would find the property.
STAY_METHODS = {("QWidget", "sizeHint"), ("QWidget", "minimumSizeHint"), ("QProgressBar", "text")}

# A property of the object, and a static function of the class.
STATIC_TOO = {("QTimer", "singleShot")}

_being_read: set[tuple[int, str]] = set()
_connections: dict[tuple[int, str], list[tuple[Callable, Callable]]] = {}


class QtProperty:
    """One Qt property as an attribute."""

    def __init__(self, name: str, writable: bool, static: Callable | None = None):
        self.name, self.writable, self.static = name, writable, static

    def __get__(self, owner: Any, kind: type | None = None) -> Any:
        if owner is None:
            return self.static or self
        key = (id(owner), self.name)
        if key in _being_read:  # a virtual getter that asks Python for an override
            return None
        _being_read.add(key)
        try:
            return _property(owner, self.name)
        finally:
            _being_read.discard(key)

    def __set__(self, owner: Any, value: Any) -> None:
        what = f"Property '{self.name}' of {type(owner).__name__}"
        if not self.writable:
            raise AttributeError(f"{what} is not writable")
        if value is None or not _set_property(owner, self.name, value):
            raise AttributeError(f"{what} does not accept {value!r}")


def signal_of(owner: QObject, signature: str) -> tuple[Any, int | None]:
    """Return the signal with such a C++ signature, and how many arguments it names.

    Raises:
        ValueError: If there is none of that name; PythonQt would only log it.
    """
    match = SIGNATURE.fullmatch(signature)
    meta = owner.metaObject()
    kind = QtCore.QMetaMethod.MethodType.Signal
    methods = [meta.method(k) for k in range(meta.methodCount())]
    known = {bytes(m.name()).decode() for m in methods if m.methodType() == kind}
    if match is None or match.group(1) not in known:
        raise ValueError(f"{meta.className()} has no signal {signature}")
    kind = _kind_of(type(owner))
    if kind and "(" in signature and signature.replace(" ", "") not in signals_of(kind):
        raise ValueError(f"{kind} of Qt 5 has no signal {signature}")
    name, arguments = match.groups()
    count = None if arguments is None else len([a for a in arguments.split(",") if a.strip()])
    return getattr(owner, name), count


def connect(self: QObject, signature: Any, target: Any, *slot: Any) -> Any:
    """``object.connect("clicked(bool)", f)``; other forms go to PySide6."""
    if isinstance(signature, QObject):  # how PySide6 calls back from SignalInstance.connect
        return _connect(signature, target, *slot)
    if not isinstance(signature, str):
        return _connect(self, signature, target, *slot)
    signal, count = signal_of(self, signature)
    receiver = _cut_arguments(target, count)
    signal.connect(receiver)
    key = (id(self), signature)
    if key not in _connections:
        _connections[key] = []
        # As in PythonQt, the functions go with the object.
        self.destroyed.connect(lambda: _connections.pop(key, None))
    _connections[key].append((target, receiver))
    return True


def disconnect(self: QObject, signature: Any = None, target: Any = None, *more: Any) -> Any:
    """``object.disconnect("clicked(bool)", f)``; other forms go to PySide6."""
    if isinstance(signature, QObject):
        return _disconnect(signature, target, *more)
    pairs = _connections.get((id(self), signature), [])
    found = [pair for pair in pairs if target is None or pair[0] == target]
    for pair in found:
        signal_of(self, signature)[0].disconnect(pair[1])
        pairs.remove(pair)
    return bool(found)


def _cut_arguments(target: Callable, count: int | None) -> Callable:
    """Pass what PythonQt passes: the signature's arguments, as many as the function takes."""
    code = getattr(getattr(target, "__func__", target), "__code__", None)
    takes_all = code is None or code.co_flags & 4  # *arguments
    limit = None if takes_all else code.co_argcount - hasattr(target, "__self__")

    def call(*arguments: Any) -> Any:
        return target(*arguments[:count][:limit])

    return call


def set_attribute(self: QObject, name: str, value: Any) -> None:
    """Set a property, or an attribute of a class written in Python; refuse a typo."""
    _refuse_unknown(self, name)
    if isinstance(value, QtCore.SignalInstance):  # PySide6 keeps bound signals this way
        self.__dict__[name] = value
        return
    kind = type(self)
    owner = next((k for k in kind.__mro__ if name in k.__dict__), None)
    entry = owner.__dict__[name] if owner else None
    if isinstance(entry, QtCore.Property):  # has no __set__ of its own
        self.setProperty(name, value)
    elif hasattr(type(entry), "__set__"):
        entry.__set__(self, value)
    elif kind.__module__.startswith("PySide6"):
        raise AttributeError(f"{kind.__name__} has no property '{name}' that could be set")
    else:
        self.__dict__[name] = value


def _kind_of(kind: type) -> str:
    """Return the class of Slicer's Qt that a class is or stands for; empty if it is unknown."""
    name = getattr(kind, "stands_for", kind.__name__)
    return name if name in CLASSES else ""


@cache
def _is_product(path: str) -> bool:
    return "SpineMambaSegmentLib" in path or path.endswith("SpineMambaSegment.py")


def _refuse_unknown(owner: QObject, name: str) -> None:
    """Refuse to the product what only PySide6 has; the host and tests may use it."""
    caller = sys._getframe(1).f_back  # None if Qt asks
    if name.startswith("_") or caller is None or not _is_product(caller.f_code.co_filename):
        return
    if name not in caller.f_code.co_names:  # PySide6 looks for an override
        return
    kind = _kind_of(type(owner))
    if kind and not has(kind, name):
        raise AttributeError(f"PythonQt has no {kind}.{name}")


def _getattribute(original: Callable) -> Callable:
    def get(self: QObject, name: str) -> Any:
        _refuse_unknown(self, name)
        # PySide6 answers these two in C, whatever the class says.
        if name == "connect":
            return types.MethodType(connect, self)
        if name == "disconnect":
            return types.MethodType(disconnect, self)
        return original(self, name)

    return get


def _patch(kind: type, getter: Callable) -> None:
    meta = kind.staticMetaObject
    for k in range(meta.propertyOffset(), meta.propertyCount()):
        prop = meta.property(k)
        name = prop.name()
        if (kind.__name__, name) in STAY_METHODS or name == "objectName":
            continue
        static = getattr(kind, name) if (kind.__name__, name) in STATIC_TOO else None
        setattr(kind, name, QtProperty(name, prop.isWritable(), static))
    kind.name = property(_object_name, _set_object_name)
    kind.objectName = kind.name
    kind.connect, kind.disconnect = connect, disconnect
    kind.className = lambda self: self.metaObject().className()
    kind.__setattr__ = set_attribute
    kind.__getattribute__ = _getattribute(getter)


def _install() -> None:
    found = [getattr(module, name) for module in MODULES for name in dir(module)]
    kinds = list(dict.fromkeys(k for k in [QObject, *found] if _is_object_class(k)))
    # All originals first: a patched base class would answer for its subclasses.
    getters = {kind: kind.__getattribute__ for kind in kinds}
    for kind in kinds:
        _patch(kind, getters[kind])


def _is_object_class(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, QObject)


_install()
