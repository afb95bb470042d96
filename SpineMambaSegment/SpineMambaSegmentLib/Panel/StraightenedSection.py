"""The straightened spine (curved planar reformation) in the panel."""

from __future__ import annotations

import time
from collections.abc import Callable

import ctk
import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import UserError
from spinemamba.common.stepwise import Steps
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


class StraightenedSection:
    """The picture below a collapsible header; nothing is computed while it is collapsed.

    The strips are computed in short steps between the events of Slicer. Until they are complete,
    the earlier picture of the same segmentation stays. A newer request replaces an older one.

    Args:
        layout: Receives the section.
        onSelect: Called with the ID of the segment that was clicked.
    """

    def __init__(self, layout: qt.QVBoxLayout, onSelect: Callable[[str], None]):
        self._onSelect = onSelect
        self._shown: tuple | None = None
        self._straight: Straightened.Straightened | None = None
        self._fingerprint: tuple | None = None
        self._steps: Steps[Straightened.Straightened | None] | None = None
        self._pending: tuple | None = None
        self._drawnStrips: list[tuple[Straightened.Strip, float, float]] = []
        self.button = ctk.ctkCollapsibleButton()
        self.button.text = _("Straightened spine")
        inside = insideOf(self.button)
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
        self._timer = qt.QTimer(self.button)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_DELAY_MS)
        self._timer.connect("timeout()", self.update)
        self._stepTimer = qt.QTimer(self.button)
        self._stepTimer.setSingleShot(True)
        self._stepTimer.setInterval(0)
        self._stepTimer.connect("timeout()", self._step)
        self.button.collapsed = True
        self.button.connect("contentsCollapsed(bool)", self._unfolded)
        self.update()

    def show(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode | None,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
        chosenId: str = "",
    ) -> None:
        """Schedule a drawing of a segmentation; None shows nothing.

        Args:
            volumeNode: The image.
            segmentationNode: Its vertebrae are drawn.
            chosenId: Segment to highlight; empty for none.
        """
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
            self._show(Straightened.renamed(self._straight, self._shown[1]), "")
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
        return (node.GetID(), *Straightened.fingerprint(volumeNode, node))

    def _start(self, wanted: tuple) -> None:
        isOther = self._fingerprint is None or self._fingerprint[:2] != wanted[:2]
        if isOther:
            self._show(None, _("The straightened spine is being computed."))
        self._pending = wanted
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
        self._show(straight, "" if straight is not None else _("Nothing was segmented yet."))
        self._fingerprint = fingerprint

    def _show(self, straight: Straightened.Straightened | None, text: str) -> None:
        """Show strips, or a message if there are none."""
        self._straight = straight
        if straight is None:
            self._fingerprint = None
        self.message.text = text
        self.message.setVisible(bool(text))
        self.label.setVisible(straight is not None)
        if straight is not None:
            self._draw(straight, self._shown[2])

    def _draw(self, straight: Straightened.Straightened, chosenId: str) -> None:
        strips = (straight.side, straight.front)
        count = len(straight.side.grey)
        columns = sum(strip.grey.shape[1] for strip in strips)
        scale = min((_MAX_WIDTH - _GAP) / columns, _MAX_HEIGHT / count)
        width, height = round(columns * scale) + _GAP, round(count * scale)
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
            marks = sorted(strip.marks.items(), key=lambda mark: mark[1])
            heights = [(place[0] + 0.5) * scale for number, place in marks]
            spread = Straightened.spread(heights, _NAME_PIXELS)
            for (number, place), y in zip(marks, spread, strict=True):
                at = (_SCALE * (left + (place[1] + 0.5) * scale), _SCALE * y)
                _write(painter, at, straight.names[number - 1])
            self._drawnStrips.append((strip, left, scale))
            left += strip.grey.shape[1] * scale + _GAP
        painter.end()
        self.label.setFixedSize(width, height)
        self.label.setPixmap(canvas)
        self.label.toolTip = _(
            "From the right side and from the front, along the spine. A click brings the views "
            "to the vertebra."
        )

    def _clicked(self, x: float, y: float) -> None:
        if self._straight is None:
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


def _write(painter: qt.QPainter, at: tuple[float, float], text: str) -> None:
    """Draw a name in white with a dark outline, readable on bone and on lung."""
    font = qt.QFont()
    font.setPixelSize(_SCALE * _FONT_PIXELS)
    font.setBold(True)
    painter.setFont(font)
    half = _SCALE * 40
    for shift, color in (*((by, (0, 0, 0)) for by in _HALO), ((0, 0), (255, 255, 255))):
        x, y = (round(coordinate + _SCALE * by) for coordinate, by in zip(at, shift, strict=True))
        painter.setPen(qt.QColor(*color))
        box = qt.QRect(x - half, y - half, 2 * half, 2 * half)
        painter.drawText(box, qt.Qt.AlignCenter, text)
