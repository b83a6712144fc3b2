"""Batches computed side by side on a CPU, each by its own share of the cores.

Most of an answer's steps are too small to be divided among cores well: what is done between the large matrix
products leaves all but one of them waiting. Two batches, each on half of the cores, fill each other's gaps.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from policies.engines.models import pick_device

T = TypeVar("T")
R = TypeVar("R")
_MOST = 2  # more were never measured


class Lanes:
    """As many lanes as pay on this machine: two on a CPU with two cores or more, else one.

    `count` lanes of `threads_each` threads. Grad and inference mode belong to a thread: what is called has to
    set its own.
    """

    def __init__(self, *, most: int = _MOST) -> None:
        threads = torch.get_num_threads()
        self.count = min(most, threads) if pick_device() == "cpu" else 1
        self.threads_each = threads // self.count
        self._pool: ThreadPoolExecutor | None = None

    def map(self, call: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """`call` of each item, in the items' order, `count` of them at a time.

        An error ends it after the calls that are running. Nothing runs any more once the iterator is closed.
        """
        ahead = iter(items)
        first = list(itertools.islice(ahead, 2))
        if self.count == 1 or len(first) < 2:  # alone it has all cores
            yield from map(call, itertools.chain(first, ahead))
            return
        pool = self._started()
        running: deque[Future[R]] = deque()
        try:
            for item in itertools.chain(first, ahead):
                running.append(pool.submit(call, item))
                if len(running) == self.count:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()
            for future in running:
                if not future.cancelled():
                    future.exception()  # waits: models may be changed as soon as this is left

    def map_batches(
        self, call: Callable[[Sequence[T]], R], rows: Sequence[T], *, batch_size: int, least: int
    ) -> Iterator[tuple[Sequence[T], R]]:
        """Each batch of `rows` with `call` of it; `batch_size` rows at work at a time, `least` in a lane."""
        batches, divided = even_batches(rows, batch_size=batch_size, lanes=self.count, least=least)
        return zip(batches, self.map(call, batches) if divided else map(call, batches), strict=True)

    def close(self) -> None:
        """End the threads; the next batches start others."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _started(self) -> ThreadPoolExecutor:
        if self._pool is None:
            all_threads, each = torch.get_num_threads(), self.threads_each
            met = threading.Barrier(self.count + 1)

            def begin() -> None:  # of no `self`: a thread keeps it, and its lanes would never be collected
                torch.set_num_threads(each)
                torch.get_num_threads()  # from now on the number is this thread's own, whatever others set
                met.wait()

            self._pool = ThreadPoolExecutor(self.count, "primum-lane", initializer=begin)
            for _ in range(self.count):
                self._pool.submit(int)
            met.wait()
            torch.set_num_threads(all_threads)  # the number is also what later threads begin with
        return self._pool


def even_batches(
    rows: Sequence[T], *, batch_size: int, lanes: int, least: int
) -> tuple[list[Sequence[T]], bool]:
    """`rows` in their order, in batches of about one size, and whether these are meant for lanes.

    Those of all `lanes` hold `batch_size` at most. Fewer than `lanes` × `least` rows are not divided among
    lanes: small batches waste more than waiting does.
    """
    divided = lanes > 1 and len(rows) >= lanes * least and batch_size >= lanes
    side_by_side = lanes if divided else 1
    count = -(-len(rows) // (batch_size // side_by_side))
    count = -(-count // side_by_side) * side_by_side
    edges = [len(rows) * at // max(1, count) for at in range(count + 1)]
    return [rows[start:end] for start, end in itertools.pairwise(edges) if end > start], divided
