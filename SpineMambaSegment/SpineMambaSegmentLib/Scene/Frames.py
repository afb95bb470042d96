"""Frames of sequences: which one a proxy node shows, and how a frame is read and stored.

A sequence browser shows one data node of a sequence at a time in a proxy node. If the browser saves
changes, proxy and data node share their voxels; else the proxy is a copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from SpineMambaSegmentLib.Scene.Segments import placeUnder

_SEQUENCE = "vtkMRMLSequenceNode"
_BROWSER = "vtkMRMLSequenceBrowserNode"

Segmentation = slicer.vtkMRMLSegmentationNode


@dataclass(frozen=True)
class Frame:
    """One frame of a sequence; frames are equal if sequence and index value are.

    Attributes:
        browser: Sequence browser that shows it.
        sequence: Sequence that stores it.
        indexValue: Index value of the frame, for example its time.
        number: Number of the frame, from 1.
        count: Number of frames.
    """

    browser: slicer.vtkMRMLSequenceBrowserNode = field(compare=False)
    sequence: slicer.vtkMRMLSequenceNode
    indexValue: str
    number: int = field(compare=False)
    count: int = field(compare=False)

    @property
    def title(self) -> str:
        """Text such as "Frame 3 of 12"."""
        return _("Frame {number} of {count}").format(number=self.number, count=self.count)

    @property
    def dataNode(self) -> slicer.vtkMRMLNode | None:
        """The node that stores the frame; None if the sequence does not contain it."""
        return self.sequence.GetDataNodeAtValue(self.indexValue)

    def isInScene(self) -> bool:
        """Return False if the browser or the sequence was deleted."""
        return self.browser.GetScene() is not None and self.sequence.GetScene() is not None

    def within(self, sequence: slicer.vtkMRMLSequenceNode) -> Frame:
        """Return the frame with the same index value in another sequence of the browser."""
        return Frame(self.browser, sequence, self.indexValue, self.number, self.count)

    def copyTo(self, scene: slicer.vtkMRMLScene) -> Segmentation:
        """Return a copy of a frame of segmentations, empty if there is none.

        Args:
            scene: Receives the copy; a scene of its own, so that no view shows the copy.
        """
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", self.sequence.GetName())
        if self.dataNode is not None:
            node.CopyContent(self.dataNode)
        return node

    def store(self, node: Segmentation) -> None:
        """Replace the frame by a copy of a node; the browser shows it if it is the current one."""
        self.sequence.SetDataNodeAtValue(node, self.indexValue)


def frameOf(node: slicer.vtkMRMLNode) -> Frame | None:
    """Return the frame that a proxy node shows; None if it is no proxy, or shows no frame."""
    browser = _browserOf(node)
    if browser is None or browser.GetSelectedItemNumber() < 0:
        return None
    item, count = browser.GetSelectedItemNumber(), browser.GetNumberOfItems()
    indexValue = browser.GetMasterSequenceNode().GetNthIndexValue(item)
    return Frame(browser, browser.GetSequenceNode(node), indexValue, item + 1, count)


def framesOf(node: slicer.vtkMRMLNode) -> list[Frame]:
    """Return all frames of the sequence of a proxy node; empty if it is no proxy."""
    browser = _browserOf(node)
    if browser is None:
        return []
    sequence = browser.GetSequenceNode(node)
    count = sequence.GetNumberOfDataNodes()
    values = [sequence.GetNthIndexValue(k) for k in range(count)]
    return [Frame(browser, sequence, value, k + 1, count) for k, value in enumerate(values)]


def keep(node: Segmentation, ids: Sequence[str] | None = None) -> None:
    """Store segments and attributes of a proxy node in its frame; other nodes are left alone.

    The browser itself stores segments only if it saves changes, and attributes only with the next
    change of a segment.

    Args:
        node: The segmentation.
        ids: Segments whose names, colours and tags have changed, if no voxels have; None copies
            the whole segmentation, which takes about a second for a large one with surfaces.
    """
    frame = frameOf(node)
    if frame is None:
        return
    stored = frame.dataNode
    if stored is None:
        frame.store(node)
        return
    # Not with SetDataNodeAtValue or UpdateDataNodeAtValue: the browser would then write the whole
    # frame back to the proxy node after each step of the review.
    segments, copies = node.GetSegmentation(), stored.GetSegmentation()
    if segments is copies or ids is None or any(copies.GetSegment(i) is None for i in ids):
        stored.CopyContent(node, segments is not copies)
    else:
        for segmentId in ids:
            copies.GetSegment(segmentId).DeepCopyMetadata(segments.GetSegment(segmentId))
        for name in {*node.GetAttributeNames(), *stored.GetAttributeNames()}:
            stored.SetAttribute(name, node.GetAttribute(name))
    frame.sequence.StorableModified()


def checkOutput(
    volumeNode: slicer.vtkMRMLVolumeNode, segmentationNode: Segmentation | None
) -> None:
    """Check that all frames of a volume can be segmented, and stored with a segmentation.

    Raises:
        UserError: If the volume is no proxy of a sequence, the browser is recording, or the
            segmentation is not browsed together with the volume.
    """
    browser = _browserOf(volumeNode)
    if browser is None:
        raise UserError(
            _("{name} has no frames.").format(name=volumeNode.GetName()),
            _("Choose a volume of a sequence, or segment the current frame only."),
            Code.INPUT_BAD,
        )
    if browser.GetRecordingActive():
        raise UserError(
            _("The sequence of {name} is being recorded.").format(name=volumeNode.GetName()),
            _("Stop the recording in the module Sequences."),
            Code.INPUT_BAD,
        )
    if segmentationNode is not None and _browserOf(segmentationNode) is not browser:
        raise UserError(
            _("{name} does not change with the frames of the volume.").format(
                name=segmentationNode.GetName()
            ),
            _("Choose Create new segmentation, or segment the current frame only."),
            Code.INPUT_BAD,
        )


def addOutput(
    name: str, frame: Frame, first: Segmentation, volumeNode: slicer.vtkMRMLVolumeNode
) -> Segmentation:
    """Add a sequence of segmentations to the browser of a volume.

    Frames that are missing are shown as empty segmentations. Changes are saved.

    Args:
        name: Name of the sequence.
        frame: Frame of the volume's sequence; the browser goes on showing the same frame.
        first: Segmentation of this frame.
        volumeNode: Proxy node of the volume.

    Returns:
        The proxy node of the new sequence.
    """
    browser, images = frame.browser, frame.sequence
    sequence = volumeNode.GetScene().AddNewNodeByClass(_SEQUENCE, name)
    sequence.SetIndexName(images.GetIndexName())
    sequence.SetIndexUnit(images.GetIndexUnit())
    sequence.SetIndexType(images.GetIndexType())
    before = browser.StartModify()
    frame.within(sequence).store(first)
    browser.AddSynchronizedSequenceNode(sequence)
    # The default copies the last frame to those that are not segmented yet.
    browser.SetMissingItemMode(sequence, browser.MissingItemCreateFromDefault)
    browser.SetSaveChanges(sequence, True)
    browser.EndModify(before)
    node = browser.GetProxyNode(sequence)
    placeUnder(node, volumeNode)
    return node


def _browserOf(node: slicer.vtkMRMLNode) -> slicer.vtkMRMLSequenceBrowserNode | None:
    """Return the sequence browser that a node is a proxy of; None if there is none."""
    scene = node.GetScene()
    if scene is None:
        return None
    for k in range(scene.GetNumberOfNodesByClass(_BROWSER)):
        browser = scene.GetNthNodeByClass(k, _BROWSER)
        # The first condition: a browser in a damaged scene may have lost its sequence.
        if browser.GetMasterSequenceNode() is not None and browser.IsProxyNodeID(node.GetID()):
            return browser
    return None
