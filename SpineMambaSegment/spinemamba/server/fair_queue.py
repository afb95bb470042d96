"""A queue that serves clients in turn, whatever number of jobs each of them sends."""

from __future__ import annotations

from collections import deque


class FairQueue:
    """Jobs in line, by client; the client whose turn it is comes first."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[str]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def add(self, client: str, job: str) -> None:
        """Add a job at the end of its client's line."""
        self._lines.setdefault(client, deque()).append(job)

    def take(self) -> str | None:
        """Remove and return the next job; None if there is none."""
        for client, line in self._lines.items():
            job = line.popleft()
            del self._lines[client]
            if line:
                self._lines[client] = line  # the last one in the order of insertion
            return job
        return None

    def remove(self, job: str) -> bool:
        """Remove a job; return whether it was in line."""
        for client, line in self._lines.items():
            if job in line:
                line.remove(job)
                if not line:
                    del self._lines[client]
                return True
        return False

    def places(self) -> dict[str, int]:
        """Return the place of each job, from 1: the order in which `take` would return them."""
        lines = [list(line) for line in self._lines.values()]
        longest = max(map(len, lines), default=0)
        in_order = [line[k] for k in range(longest) for line in lines if k < len(line)]
        return {job: place for place, job in enumerate(in_order, 1)}
