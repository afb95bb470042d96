"""The straightened spine (curved planar reformation) and the rib view in the panel."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ctk
import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import UserError
from spinemamba.common.stepwise import Steps
from spinemamba.protocol.rib_findings import NOT_FOR_MR, narrow_note
from SpineMambaSegmentLib.Review.Evidence import Ribs
from SpineMambaSegmentLib.Scene import Straightened

_DELAY_MS = 200
"""Delay before drawing, so that several changes in a row are drawn once."""

_STEP_S = 0.02
"""Time per event of the timer that computes the strips; then Slicer handles its other events."""

_MAX_WIDTH, _MAX_HEIGHT = 320, 560
"""Maximum size in pixels; the panel may be only 360 pixels wide."""

_GAP = 6
_SCALE = 2
"""Pixels of the picture per pixel of the panel, so that it is sharp at 200 % scaling."""

_FONT_PIXELS = 10
_NAME_PIXELS = 12
"""Smallest distance of two names; those of C1 and C2 would otherwise overlap."""

_HALO = ((-1, 0), (1, 0), (0, -1), (0, 1))
_BESIDE = 96
"""Width in pixels of the names and findings beside the rib view."""

_RING = 3
"""Radius in pixels of the mark of a rib."""

_WHITE, _WARNING, _RIB = (255, 255, 255), (255, 209, 128), (127, 224, 160)


class StraightenedSection:
    """The picture below a collapsible header; nothing is computed while it is collapsed.

    The strips are computed in short steps between the events of Slicer. Until they are complete,
    the earlier picture of the same segmentation stays. A newer request replaces an older one.

    Args:
        layout: Receives the section.
        onSelect: Called with the ID of the segment that was clicked.

    Attributes:
        ribsBox: If checked, the rib view is shown instead of the two strips.
    """

    def __init__(self, layout: qt.QVBoxLayout, onSelect: Callable[[str], None]):
        self._onSelect = onSelect
        self._shown: tuple | None = None
        self._straight: Straightened.Straightened | None = None
        self._fingerprint: tuple | None = None
        self._steps: Steps[Straightened.Straightened | None] | None = None
        self._pending: tuple | None = None
        self._drawnStrips: list[tuple[Straightened.Strip, float, float]] = []
        self._ribs = Ribs()
        self.button = ctk.ctkCollapsibleButton()
        self.button.text = _("Straightened spine")
        inside = insideOf(self.button)
        self.ribsBox = qt.QCheckBox(_("Ribs"))
        self.ribsBox.setToolTip(
            _("Show the ribs from the front along the spine, instead of the two views of the spine")
        )
        inside.addWidget(self.ribsBox)
        self.label = qt.QLabel()
        self.label.setObjectName("straightenedLabel")
        self.label.setScaledContents(True)
        self.message = qt.QLabel()
        self.message.setObjectName("straightenedMessage")
        self.message.setWordWrap(True)
        inside.addWidget(self.label, 0, qt.Qt.AlignHCenter)
        inside.addWidget(self.message)
        layout.addWidget(self.button)
        self._clicks = _Clicks(self._clicked)
        self.label.installEventFilter(self._clicks)
        self._timer = self._single(_DELAY_MS, self.update)
        self._stepTimer = self._single(0, self._step)
        self.button.collapsed = True
        self.button.connect("contentsCollapsed(bool)", self._unfolded)
        self.ribsBox.connect("toggled(bool)", lambda isOn: self.update())
        self.update()

    def _single(self, delay_ms: int, slot: Callable[[], None]) -> qt.QTimer:
        """Return a timer that fires once after each start."""
        timer = qt.QTimer(self.button)
        timer.setSingleShot(True)
        timer.setInterval(delay_ms)
        timer.connect("timeout()", slot)
        return timer

    def show(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode | None,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
        chosenId: str = "",
        ribs: Ribs | None = None,
    ) -> None:
        """Schedule a drawing of a segmentation; None shows nothing.

        Args:
            volumeNode: The image.
            segmentationNode: Its vertebrae are drawn.
            chosenId: Segment to highlight; empty for none.
            ribs: Ribs that were seen; None if none are known.
        """
        self._ribs = Ribs() if ribs is None else ribs
        both = volumeNode is not None and segmentationNode is not None
        self._shown = (volumeNode, segmentationNode, chosenId) if both else None
        self._timer.start()

    def update(self) -> None:
        """Draw now if only names or the chosen vertebra have changed; else compute the strips."""
        if self.button.collapsed:
            return
        wanted = self._wanted()
        if wanted is None:
            self._stop()
            self._show(None, _("Nothing was segmented yet."))
        elif self._straight is not None and wanted == self._fingerprint:
            self._stop()
            self._show(Straightened.renamed(self._straight, self._shown[1]))
        elif self._steps is None or wanted != self._pending:
            self._start(wanted)

    @property
    def isComputing(self) -> bool:
        """Whether a newer picture is being computed."""
        return self._steps is not None

    def _wanted(self) -> tuple | None:
        """Return the fingerprint of what is to be drawn; None if there is nothing to draw."""
        if self._shown is None or self._shown[0].GetImageData() is None:
            return None
        volumeNode, node = self._shown[:2]
        if volumeNode.GetScene() is None or node.GetScene() is None:
            return None
        kind = (self._ribs.modality,) if self.ribsBox.checked else ()
        return (node.GetID(), kind, *Straightened.fingerprint(volumeNode, node))

    def _start(self, wanted: tuple) -> None:
        isOther = self._fingerprint is None or self._fingerprint[:3] != wanted[:3]
        if isOther:
            self._show(None, _("The straightened spine is being computed."))
        self._pending = wanted
        if self.ribsBox.checked:
            self._steps = Straightened.ribsInSteps(*self._shown[:2], self._ribs.modality)
        else:
            self._steps = Straightened.straightenedInSteps(*self._shown[:2])
        self._stepTimer.start()

    def _stop(self) -> None:
        self._steps = self._pending = None
        self._stepTimer.stop()

    def _step(self) -> None:
        """Compute for a moment, and draw when the strips are complete."""
        if self._steps is None:
            return
        if self.button.collapsed or self._wanted() != self._pending:
            self._stop()
            self._timer.start()
            return
        end_s = time.monotonic() + _STEP_S
        try:
            while time.monotonic() < end_s:
                next(self._steps)
            self._stepTimer.start()
        except StopIteration as end:
            self._finish(end.value)
        except UserError as error:
            self._stop()
            self._show(None, str(error))
        except Exception:
            self._stop()
            raise

    def _finish(self, straight: Straightened.Straightened | None) -> None:
        fingerprint = self._pending
        self._stop()
        self._show(straight, _("Nothing was segmented yet."))
        self._fingerprint = fingerprint

    def _show(self, straight: Straightened.Straightened | None, text: str = "") -> None:
        """Show strips and what was seen of the ribs, or a message if there are no strips."""
        self._straight = straight
        if straight is None:
            self._fingerprint = None
        else:
            text = self._note(straight)
        self.message.text = text
        self.message.setVisible(bool(text))
        isDrawn = straight is not None and bool(straight.strips)
        self.label.setVisible(isDrawn)
        if isDrawn:
            self._draw(straight, self._shown[2])

    def _note(self, straight: Straightened.Straightened) -> str:
        """Return what was seen of the ribs, and what the rib view does not show."""
        ids = [straight.ids[number - 1] for number in straight.narrow]
        levels = [self._ribs.levels[i] for i in ids if i in self._ribs.levels]
        texts = [self._ribs.summary, narrow_note(levels), "" if straight.strips else NOT_FOR_MR]
        return " ".join(filter(None, texts))

    def _draw(self, straight: Straightened.Straightened, chosenId: str) -> None:
        strips = straight.strips
        beside = _BESIDE if strips[0].joints else 0
        gaps = _GAP * (len(strips) - 1)
        count = len(strips[0].grey)
        columns = sum(strip.grey.shape[1] for strip in strips)
        scale = min((_MAX_WIDTH - gaps - beside) / columns, _MAX_HEIGHT / count)
        width, height = round(columns * scale) + gaps + beside, round(count * scale)
        canvas = qt.QPixmap(_SCALE * width, _SCALE * height)
        canvas.fill(qt.QColor(0, 0, 0))
        painter = qt.QPainter(canvas)
        left, self._drawnStrips = 0.0, []
        for strip in strips:
            picture = _pixmap(Straightened.painted(straight, strip, chosenId))
            wide = round(_SCALE * strip.grey.shape[1] * scale)
            smooth = qt.Qt.SmoothTransformation
            size = (wide, _SCALE * height, qt.Qt.IgnoreAspectRatio, smooth)
            painter.drawPixmap(round(_SCALE * left), 0, picture.scaled(*size))
            self._drawnStrips.append((strip, left, scale))
            self._write(painter, straight, self._drawnStrips[-1])
            self._markRibs(painter, straight, self._drawnStrips[-1])
            left += strip.grey.shape[1] * scale + _GAP
        painter.end()
        self.label.setFixedSize(width, height)
        self.label.setPixmap(canvas)
        self.label.toolTip = _tip(bool(beside))

    def _write(self, painter: qt.QPainter, straight: Straightened.Straightened, drawn: Any) -> None:
        """Write the names into a strip, and findings into the last one; beside the rib view."""
        strip, left, scale = drawn
        marks = sorted(strip.marks.items(), key=lambda mark: mark[1])
        heights = [(place[0] + 0.5) * scale for number, place in marks]
        places = zip(marks, Straightened.spread(heights, _NAME_PIXELS), strict=True)
        for (number, (_row, column)), y in places:
            text, color = straight.names[number - 1], _WHITE
            finding = self._ribs.findings.get(straight.ids[number - 1])
            if finding is not None and strip is straight.front:
                text = f"{text} {finding.mark}".strip()
                color = _WARNING if finding.agrees is False else _WHITE
            if strip.joints:
                x = _SCALE * (left + strip.grey.shape[1] * scale + _GAP)
                _write(painter, (x, _SCALE * y), text, color, qt.Qt.AlignLeft)
            else:
                x = _SCALE * (left + (column + 0.5) * scale)
                _write(painter, (x, _SCALE * y), text, color, qt.Qt.AlignHCenter)

    def _markRibs(
        self, painter: qt.QPainter, straight: Straightened.Straightened, drawn: Any
    ) -> None:
        """Draw a disc where a rib was seen, and a circle where it is unclear."""
        strip, left, scale = drawn
        pen = qt.QPen(qt.QColor(*_RIB))
        pen.setWidth(_SCALE)
        radius = _SCALE * _RING
        for number, joints in strip.joints.items():
            finding = self._ribs.findings.get(straight.ids[number - 1])
            sights = () if finding is None else (finding.right, finding.left)
            for sight, (row, column) in zip(sights, joints, strict=False):
                x = round(_SCALE * (left + (column + 0.5) * scale)) - radius
                y = round(_SCALE * (row + 0.5) * scale) - radius
                painter.setPen(pen)
                painter.setBrush(qt.QBrush(qt.QColor(*_RIB)) if sight == "seen" else qt.QBrush())
                if sight != "none":
                    painter.drawEllipse(x, y, 2 * radius, 2 * radius)

    def _clicked(self, x: float, y: float) -> None:
        if self._straight is None or not self._drawnStrips:
            return
        # The second strip begins where the first one ends.
        strip, left, scale = next(
            (drawn for drawn in reversed(self._drawnStrips) if x >= drawn[1]), self._drawnStrips[0]
        )
        self._onSelect(self._straight.segmentAt(strip, y / scale, (x - left) / scale))

    def _unfolded(self, collapsed: bool) -> None:
        if not collapsed:
            self.update()


def insideOf(button: ctk.ctkCollapsibleButton) -> qt.QVBoxLayout:
    """Return the layout of a widget inside a collapsible button.

    The button shows and hides all its direct children, also those that must stay hidden.
    """
    frame = qt.QVBoxLayout(button)
    frame.setContentsMargins(0, 0, 0, 0)
    widget = qt.QWidget()
    frame.addWidget(widget)
    return qt.QVBoxLayout(widget)


class _Clicks(qt.QObject):
    """Event filter that reports the positions of clicks."""

    def __init__(self, onClick: Callable[[float, float], None]):
        super().__init__()
        self._onClick, self._place = onClick, (0.0, 0.0)
        # An exception in an event filter would end the program without a message.
        self._later = qt.QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(0)
        self._later.connect("timeout()", self._report)

    def eventFilter(self, watched: qt.QObject, event: qt.QEvent) -> bool:
        """Return True if an event is consumed; called by Qt."""
        if event.type() != qt.QEvent.MouseButtonPress:
            return False
        self._place = event.pos().x(), event.pos().y()
        self._later.start()
        return True

    def _report(self) -> None:
        self._onClick(*self._place)


def _pixmap(pixels: np.ndarray) -> qt.QPixmap:
    """Return pixels (rows, columns, 3) as a pixmap."""
    rows, columns = pixels.shape[:2]
    pixmap = qt.QPixmap()
    # Portable pixmap is the simplest format that Qt reads.
    pixmap.loadFromData(qt.QByteArray(b"P6 %d %d 255\n" % (columns, rows) + pixels.tobytes()))
    return pixmap


def _tip(isOfRibs: bool) -> str:
    """Return the tooltip of the picture."""
    if isOfRibs:
        return _(
            "Ribs from the front, along the spine: the brightest values from the middle of the "
            "bodies to 60 mm behind it. A disc marks a rib that the level network saw, a circle an "
            "unclear one. A click brings the views to the vertebra at this height."
        )
    return _(
        "From the right side and from the front, along the spine. A click brings the views "
        "to the vertebra."
    )


def _write(
    painter: qt.QPainter,
    at: tuple[float, float],
    text: str,
    color: tuple[int, int, int],
    align: int,
) -> None:
    """Write a text with a dark outline, readable on bone and on lung.

    Args:
        painter: Paints on the picture.
        at: Middle of the text, or of its left end, in pixels of the picture.
        text: A name.
        color: Red, green, blue.
        align: Qt.AlignHCenter, or Qt.AlignLeft.
    """
    font = qt.QFont()
    font.setPixelSize(_SCALE * _FONT_PIXELS)
    font.setBold(True)
    painter.setFont(font)
    half = _SCALE * 60
    start = 0 if align == qt.Qt.AlignLeft else half
    for shift, shade in (*((by, (0, 0, 0)) for by in _HALO), ((0, 0), color)):
        x, y = (round(coordinate + _SCALE * by) for coordinate, by in zip(at, shift, strict=True))
        painter.setPen(qt.QColor(*shade))
        box = qt.QRect(x - start, y - half, 2 * half, 2 * half)
        painter.drawText(box, align | qt.Qt.AlignVCenter, text)
