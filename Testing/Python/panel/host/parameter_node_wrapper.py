"""Stand-in for slicer.parameterNodeWrapper, which slicer-core has not: strings and nodes only."""

from __future__ import annotations

import typing
import weakref
from typing import Any

import slicer
import vtk


class Choice:
    """Allows only some values."""

    def __init__(self, choices: typing.Sequence[str]):
        self.choices = choices

    def validate(self, value: str) -> None:
        if value not in self.choices:
            raise ValueError(f"Value is {value}, but must be in one of: {self.choices}")


class _Parameter:
    """One parameter of a node, read again whenever the node is modified, as in Slicer."""

    def __init__(self, node: slicer.vtkMRMLScriptedModuleNode, name: str, hint: Any, default: Any):
        self._node, self._name = node, name
        self._kind, *self._validators = typing.get_args(hint) or (hint,)
        self._is_node = issubclass(self._kind, slicer.vtkMRMLNode)
        if not node.HasParameter(name):
            self.write(default if self._is_node or default is not None else "")
        self._read()
        # As Slicer's: the observer does not keep the wrapper, and is removed with it.
        read = weakref.WeakMethod(self._read)
        tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: _call(read))
        weakref.finalize(self, node.RemoveObserver, tag)

    def _read(self) -> None:
        node, name = self._node, self._name
        self.value = node.GetNodeReference(name) if self._is_node else node.GetParameter(name)

    def write(self, value: Any) -> None:
        if not isinstance(value, (self._kind, type(None)) if self._is_node else self._kind):
            raise TypeError(f"{self._name} has the wrong type: {type(value)}")
        for validator in self._validators:
            validator.validate(value)
        before = self._node.StartModify()
        self._node.SetParameter(self._name, "" if self._is_node else value)
        if self._is_node:
            self._node.SetNodeReferenceID(self._name, None if value is None else value.GetID())
        self._read()
        self._node.EndModify(before)


def _call(method: weakref.WeakMethod) -> None:
    """Call a method if its object still exists."""
    if (bound := method()) is not None:
        bound()


def parameterNodeWrapper(kind: type) -> type:
    """Turn the annotated attributes of a class into parameters of a node."""
    hints = typing.get_type_hints(kind, include_extras=True)
    defaults = {name: getattr(kind, name, None) for name in hints}

    def make(self: Any, node: slicer.vtkMRMLScriptedModuleNode) -> None:
        self.parameterNode = node
        self._parameters = {n: _Parameter(node, n, hint, defaults[n]) for n, hint in hints.items()}

    def attribute(name: str) -> property:
        return property(
            lambda self: self._parameters[name].value,
            lambda self, value: self._parameters[name].write(value),
        )

    kind.__init__ = make
    for name in hints:
        setattr(kind, name, attribute(name))
    kind.AddObserver = lambda self, event, call: self.parameterNode.AddObserver(event, call)
    kind.RemoveObserver = lambda self, tag: self.parameterNode.RemoveObserver(tag)
    kind.StartModify = lambda self: self.parameterNode.StartModify()
    kind.EndModify = lambda self, before: self.parameterNode.EndModify(before)
    return kind
