"""The selective scan in pure torch: all chunks of the sequence advance together.

A sequence of L tokens is cut into K chunks of T. Pass 1 scans every chunk from a zero state;
the K end states are then chained; pass 2 scans again from the right entry states. That takes
2 T + K steps of large operations instead of L of small ones. No division and no cumulative
sum of logarithms, so no step size overflows; no tensor of L d n numbers, so no page faults.

Layout inside: Z = batch K chunks, states (Z, n, d) with the channels last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

NEAR_STATES = 2**17
"""Numbers that the states of all chunks may be: every step goes through them five times, which
takes half as long again where they do not stay in the processor's own cache."""


@dataclass(frozen=True)
class _Chunks:
    """The inputs cut into chunks, padded with tokens that change nothing (step size 0)."""

    u: Tensor  # (Z, T, d)
    delta: Tensor  # (Z, T, d)
    A: Tensor  # (n, d)
    B: Tensor  # (Z, T, n)
    C: Tensor  # (Z, T, n)
    batch: int
    length: int

    @property
    def steps(self) -> int:
        return self.u.shape[1]

    def decay(self, t: int) -> Tensor:
        """Return exp(delta A) of each chunk's token t: (Z, n, d)."""
        return torch.mul(self.delta[:, t, None, :], self.A).exp_()

    def advance(self, state: Tensor, t: int, drive: Tensor) -> Tensor:
        """Update the states (Z, n, d) in place with token t; ``drive`` is delta u."""
        return state.mul_(self.decay(t)).addcmul_(self.B[:, t, :, None], drive[:, t, None, :])

    def join(self, chunks: Tensor) -> Tensor:
        """Return (batch, L, channels) of (Z, T, channels)."""
        return chunks.reshape(self.batch, -1, chunks.shape[-1])[:, : self.length]


def scan_chunked(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:  # noqa: N803
    """Run the selective scan; arguments and result as `scan_reference`, float32 inside."""
    return _Scan.apply(*(x.float() for x in (u, delta, A, B, C, D))).to(u.dtype)


class _Scan(torch.autograd.Function):
    """Forward and backward; only the inputs and the chunks' entry states are kept."""

    @staticmethod
    def forward(ctx, u, delta, A, B, C, D):  # noqa: N803
        chunks = _cut(u, delta, A, B, C)
        drive = chunks.delta * chunks.u
        entry = _entry_states(chunks, drive)
        state = entry.clone()
        y = torch.empty_like(chunks.u)  # (Z, T, d)
        for t in range(chunks.steps):
            chunks.advance(state, t, drive)
            torch.bmm(chunks.C[:, t, None, :], state, out=y[:, t, None, :])
        ctx.save_for_backward(u, delta, A, B, C, D, entry)
        return chunks.join(y) + D * u

    @staticmethod
    def backward(ctx, grad):
        u, delta, A, B, C, D, entry = ctx.saved_tensors  # noqa: N806
        chunks = _cut(u, delta, A, B, C)
        grad_drive, grad_delta, grad_a, grad_b, grad_c = _backward(chunks, entry, grad)
        grad_u = grad_drive * delta + D * grad
        grad_delta = grad_delta + grad_drive * u
        return grad_u, grad_delta, grad_a, grad_b, grad_c, (grad * u).sum(dim=(0, 1))


def _cut(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> _Chunks:  # noqa: N803
    """Cut into K chunks of T = sqrt(L / 2) tokens, where 2 T + K steps are fewest.

    Longer ones on a CPU, see `NEAR_STATES`. The number of batches changes nothing, or it would
    change the last bits of the answer.
    """
    batch, length, _ = u.shape
    fewest_steps, near = math.sqrt(length / 2), length * A.numel() / NEAR_STATES
    best = max(fewest_steps, near) if u.device.type == "cpu" else fewest_steps
    steps = min(length, max(1, round(best)))

    def chunked(x: Tensor) -> Tensor:
        missing = -length % steps
        padded = functional.pad(x, (0, 0, 0, missing)) if missing else x
        return padded.reshape(-1, steps, x.shape[-1])

    parts = (chunked(x) for x in (u, delta, B, C))
    u, delta, B, C = parts  # noqa: N806
    return _Chunks(u, delta, A.t().contiguous(), B, C, batch, length)


def _entry_states(chunks: _Chunks, drive: Tensor) -> Tensor:
    """Return the state with which each chunk begins, (Z, n, d)."""
    state = drive.new_zeros(drive.shape[0], *chunks.A.shape)
    for t in range(chunks.steps):
        chunks.advance(state, t, drive)
    whole = torch.exp(chunks.delta.sum(dim=1)[:, None, :] * chunks.A)  # decay of a chunk
    return _chain(state, whole, chunks.batch)


def _chain(ends: Tensor, decays: Tensor, batch: int) -> Tensor:
    """Carry end states of chunks on to the chunks after them; (Z, n, d) each."""
    ends, decays = (x.reshape(batch, -1, *x.shape[1:]) for x in (ends, decays))
    entry = torch.zeros_like(ends)  # (batch, K, n, d)
    for k in range(ends.shape[1] - 1):
        torch.addcmul(ends[:, k], decays[:, k], entry[:, k], out=entry[:, k + 1])
    return entry.flatten(0, 1)


def _exit_gradients(chunks: _Chunks, grad: Tensor) -> Tensor:
    """Return the gradient that enters each chunk from the chunks after it, (Z, n, d).

    The adjoint runs the same recurrence from the end: g_t = C_t grad_t + decay_{t+1} g_{t+1}.
    """
    g = grad.new_zeros(grad.shape[0], *chunks.A.shape)
    for t in reversed(range(chunks.steps)):
        g.addcmul_(chunks.C[:, t, :, None], grad[:, t, None, :]).mul_(chunks.decay(t))
    whole = torch.exp(chunks.delta.sum(dim=1)[:, None, :] * chunks.A)
    flip = (chunks.batch, -1, *g.shape[1:])
    g, whole = (x.reshape(flip).flip(1).flatten(0, 1) for x in (g, whole))
    return _chain(g, whole, chunks.batch).reshape(flip).flip(1).flatten(0, 1)


def _backward(chunks: _Chunks, entry: Tensor, grad: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients of delta u, delta (through the decay), A, B and C.

    The states inside a chunk are recomputed in segments of sqrt(T) tokens, so that only a few
    of them exist at a time.
    """
    missing = -grad.shape[1] % chunks.steps
    grad = functional.pad(grad, (0, 0, 0, missing)).reshape(chunks.u.shape)
    drive = chunks.delta * chunks.u
    segment = max(1, round(math.sqrt(chunks.steps)))
    starts = range(0, chunks.steps, segment)
    entries = _segment_entries(chunks, entry, drive, segment)
    out = _Gradients.like(chunks)
    g = _exit_gradients(chunks, grad)
    for start, first in zip(reversed(starts), reversed(entries), strict=True):
        states = [first]
        for t in range(start, min(start + segment, chunks.steps)):
            states.append(chunks.advance(states[-1].clone(), t, drive))
        for t in reversed(range(start, start + len(states) - 1)):
            g.addcmul_(chunks.C[:, t, :, None], grad[:, t, None, :])
            pair = (states[t - start], states[t - start + 1])
            out.add(chunks, t, g, pair, (drive, grad))
    parts = (chunks.join(x) for x in (out.drive, out.delta))
    return *parts, out.A.sum(dim=0).t(), chunks.join(out.B), chunks.join(out.C)


def _segment_entries(chunks: _Chunks, entry: Tensor, drive: Tensor, segment: int) -> list[Tensor]:
    """Return the states before every segment of each chunk."""
    state = entry.clone()
    entries = []
    for t in range(chunks.steps):
        if t % segment == 0:
            entries.append(state.clone())
        chunks.advance(state, t, drive)
    return entries


@dataclass(frozen=True)
class _Gradients:
    """What accumulates while the adjoint walks back."""

    drive: Tensor  # (Z, T, d)
    delta: Tensor  # (Z, T, d)
    A: Tensor  # (Z, n, d)
    B: Tensor  # (Z, T, n)
    C: Tensor  # (Z, T, n)

    @classmethod
    def like(cls, chunks: _Chunks) -> _Gradients:
        z = chunks.u.shape[0]
        empty = (torch.empty_like(x) for x in (chunks.u, chunks.u))
        a = chunks.u.new_zeros(z, *chunks.A.shape)
        return cls(*empty, a, torch.empty_like(chunks.B), torch.empty_like(chunks.C))

    def add(
        self,
        chunks: _Chunks,
        t: int,
        g: Tensor,
        states: tuple[Tensor, Tensor],
        flows: tuple[Tensor, Tensor],
    ) -> None:
        """Take the adjoint ``g`` of token t's state, and leave in it that of the token before.

        ``states`` are the states before and after the token, ``flows`` delta u and the gradient
        of y.
        """
        (before, state), (drive, grad) = states, flows
        torch.bmm(state, grad[:, t, :, None], out=self.C[:, t, :, None])
        torch.bmm(g, drive[:, t, :, None], out=self.B[:, t, :, None])
        torch.bmm(chunks.B[:, t, None, :], g, out=self.drive[:, t, None, :])
        g.mul_(chunks.decay(t))  # now the adjoint of the state before
        flow = g * before  # gradient of delta A
        torch.sum(flow * chunks.A, dim=1, out=self.delta[:, t])
        self.A.addcmul_(flow, chunks.delta[:, t, None, :])
