"""The selective scan in pure torch: all chunks of the sequence advance in parallel.

A sequence of L tokens is cut into K chunks of T tokens. Pass 1 scans every chunk from a zero state.
The K end states are then chained to get the entry state of each chunk, with which pass 2 scans
again. That takes 2 T + K steps of large operations instead of L steps of small ones. There are no
divisions and no cumulative sums of logarithms, so that no step size overflows, and no tensor of
L d n elements, so that there are no page faults.

Internal layout: Z = batch * K chunks, states (Z, n, d) with the channels last. K is the number of
chunks here, not of scan orders.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_MAX_CACHED_STATES = 2**17
"""Largest number of states of all chunks. Every step reads or writes them five times, which takes
half as long again if they do not fit into the cache of the processor."""


@dataclass(frozen=True)
class _Chunks:
    """Inputs cut into chunks; padding tokens have step size 0, which leaves the state unchanged."""

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
        """Return exp(delta A) of token t of each chunk, (Z, n, d)."""
        return torch.mul(self.delta[:, t, None, :], self.A).exp_()

    def advance(self, state: Tensor, t: int, drive: Tensor) -> Tensor:
        """Update the states (Z, n, d) in place with token t; ``drive`` is delta u."""
        return state.mul_(self.decay(t)).addcmul_(self.B[:, t, :, None], drive[:, t, None, :])

    def join(self, chunks: Tensor) -> Tensor:
        """Return chunks (Z, T, channels) as a sequence (batch, L, channels)."""
        return chunks.reshape(self.batch, -1, chunks.shape[-1])[:, : self.length]


def scan_chunked(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:  # noqa: N803
    """Run the selective scan in float32; arguments and result as in `scan_reference`."""
    return _Scan.apply(*(x.float() for x in (u, delta, A, B, C, D))).to(u.dtype)


class _Scan(torch.autograd.Function):
    """Forward and backward pass; only the inputs and the entry states of chunks are saved."""

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
    """Cut into K chunks of T = sqrt(L / 2) tokens, which minimises the 2 T + K steps.

    Chunks are longer on a CPU if the states would not fit into the cache. The batch size has no
    influence, because the length of the chunks changes the last bits of the result.
    """
    batch, length, _ = u.shape
    fewest_steps, cached = math.sqrt(length / 2), length * A.numel() / _MAX_CACHED_STATES
    best = max(fewest_steps, cached) if u.device.type == "cpu" else fewest_steps
    steps = min(length, max(1, round(best)))

    def chunked(x: Tensor) -> Tensor:
        missing = -length % steps
        padded = functional.pad(x, (0, 0, 0, missing)) if missing else x
        return padded.reshape(-1, steps, x.shape[-1])

    parts = (chunked(x) for x in (u, delta, B, C))
    u, delta, B, C = parts  # noqa: N806
    return _Chunks(u, delta, A.t().contiguous(), B, C, batch, length)


def _entry_states(chunks: _Chunks, drive: Tensor) -> Tensor:
    """Return the entry state of each chunk, (Z, n, d): the state before its first token."""
    state = drive.new_zeros(drive.shape[0], *chunks.A.shape)
    for t in range(chunks.steps):
        chunks.advance(state, t, drive)
    whole = torch.exp(chunks.delta.sum(dim=1)[:, None, :] * chunks.A)  # decay of a chunk
    return _chain(state, whole, chunks.batch)


def _chain(ends: Tensor, decays: Tensor, batch: int) -> Tensor:
    """Return the entry states of chunks from end states of scans that start at zero.

    Args:
        ends: End state of each chunk, (Z, n, d).
        decays: Decay over each whole chunk, (Z, n, d).
        batch: Batch size.
    """
    ends, decays = (x.reshape(batch, -1, *x.shape[1:]) for x in (ends, decays))
    entry = torch.zeros_like(ends)  # (batch, K, n, d)
    for k in range(ends.shape[1] - 1):
        torch.addcmul(ends[:, k], decays[:, k], entry[:, k], out=entry[:, k + 1])
    return entry.flatten(0, 1)


def _exit_gradients(chunks: _Chunks, grad: Tensor) -> Tensor:
    """Return the gradient that each chunk receives from the chunks after it, (Z, n, d).

    The adjoint g is the same recurrence from the end: g_t = C_t grad_t + decay_{t+1} g_{t+1}.
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

    States inside a chunk are recomputed in segments of sqrt(T) tokens, so that only few of them
    are in memory.
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
    """Return the state before each segment, (Z, n, d) each."""
    state = entry.clone()
    entries = []
    for t in range(chunks.steps):
        if t % segment == 0:
            entries.append(state.clone())
        chunks.advance(state, t, drive)
    return entries


@dataclass(frozen=True)
class _Gradients:
    """Gradients accumulated by the backward recurrence."""

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
        """Add the gradients of token t, and update ``g`` in place.

        Args:
            chunks: Inputs.
            t: Index of the token in its chunk.
            g: Adjoint of the state of token t; afterwards that of the state before it, (Z, n, d).
            states: States before and after the token, (Z, n, d) each.
            flows: delta u and the gradient of y, (Z, T, d) each.
        """
        (before, state), (drive, grad) = states, flows
        torch.bmm(state, grad[:, t, :, None], out=self.C[:, t, :, None])
        torch.bmm(g, drive[:, t, :, None], out=self.B[:, t, :, None])
        torch.bmm(chunks.B[:, t, None, :], g, out=self.drive[:, t, None, :])
        g.mul_(chunks.decay(t))  # now the adjoint of the previous state
        flow = g * before  # gradient of delta A
        torch.sum(flow * chunks.A, dim=1, out=self.delta[:, t])
        self.A.addcmul_(flow, chunks.delta[:, t, None, :])
