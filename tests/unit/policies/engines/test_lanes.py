"""Batches side by side: in order, a few at a time, and none left behind."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Sequence
from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from policies.engines.lanes import Lanes, even_batches


@pytest.fixture
def two() -> Iterator[Lanes]:
    """Two lanes, on whatever machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield Lanes()
    torch.set_num_threads(before)


def threads_of_another() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def test_two_at_a_time_each_on_half_of_the_threads_in_order(two: Lanes) -> None:
    together = threading.Barrier(2)

    def call(item: int) -> tuple[int, int, str]:
        together.wait(timeout=30)  # one alone would never come past
        return item, torch.get_num_threads(), threading.current_thread().name

    found = list(two.map(call, range(6)))
    assert [item for item, _, _ in found] == list(range(6))
    assert {threads for _, threads, _ in found} == {2}
    assert len({name for _, _, name in found}) == 2


def test_lanes_that_are_closed_end_their_threads_and_begin_anew(two: Lanes) -> None:
    def named(_: int) -> threading.Thread:
        return threading.current_thread()

    before = set(two.map(named, range(4)))
    two.close()
    assert not any(thread.is_alive() for thread in before)
    assert not before & set(two.map(named, range(4)))


def test_lanes_that_nobody_holds_leave_no_thread(two: Lanes) -> None:
    lanes = Lanes()
    threads = set(lanes.map(lambda _: threading.current_thread(), range(4)))
    del lanes
    gc.collect()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def test_outside_of_the_lanes_all_threads_stay(two: Lanes) -> None:
    assert sum(two.map(abs, range(3))) == 3
    assert torch.get_num_threads() == 4
    assert threads_of_another() == 4


def test_what_is_alone_runs_here_on_all_threads(two: Lanes) -> None:
    here = threading.current_thread()
    assert list(two.map(lambda _: (threading.current_thread(), torch.get_num_threads()), [0])) == [(here, 4)]
    assert list(two.map(abs, [])) == []


def test_one_core_has_one_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    one = Lanes()
    here = threading.current_thread()
    assert (one.count, one.threads_each) == (1, 1)
    assert set(one.map(lambda _: threading.current_thread(), range(3))) == {here}


def test_a_gpu_has_one_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policies.engines.lanes.pick_device", lambda: "cuda")
    assert Lanes().count == 1


def test_an_error_comes_out_and_nothing_runs_on(two: Lanes) -> None:
    began, ended = list[int](), list[int]()

    def call(item: int) -> int:
        began.append(item)
        if item == 1:
            raise ValueError("no")
        ended.append(item)
        return item

    with pytest.raises(ValueError, match="no"):
        list(two.map(call, range(20)))
    assert sorted(ended) == [item for item in sorted(began) if item != 1]
    assert len(began) <= 3
    assert list(two.map(abs, range(3))) == [0, 1, 2]


def test_who_stops_listening_leaves_nothing_running(two: Lanes) -> None:
    slow, ended = threading.Event(), list[int]()

    def call(item: int) -> int:
        if item:
            slow.wait(timeout=30)
        ended.append(item)
        return item

    told = two.map(call, range(20))
    assert next(told) == 0
    threading.Timer(0.01, slow.set).start()
    told.close()  # type: ignore[attr-defined]
    assert ended == [0, 1]


def test_few_rows_are_not_divided_and_run_here(two: Lanes) -> None:
    def call(rows: Sequence[int]) -> tuple[int, threading.Thread]:
        return sum(rows), threading.current_thread()

    here = threading.current_thread()
    few = list(two.map_batches(call, range(7), batch_size=4, least=4))
    assert [(list(rows), *told) for rows, told in few] == [([0, 1, 2], 3, here), ([3, 4, 5, 6], 18, here)]
    many = list(two.map_batches(call, range(8), batch_size=4, least=4))
    assert [total for _, (total, _) in many] == [1, 5, 9, 13]
    assert here not in {thread for _, (_, thread) in many}


@given(
    rows=st.lists(st.integers(), max_size=300),
    batch_size=st.integers(1, 130),
    lanes=st.integers(1, 3),
    least=st.integers(1, 40),
)
def test_batches_hold_every_row_once_and_fill_the_lanes_evenly(
    rows: list[int], batch_size: int, lanes: int, least: int
) -> None:
    batches, divided = even_batches(rows, batch_size=batch_size, lanes=lanes, least=least)
    sizes = [len(batch) for batch in batches]
    assert list(chain.from_iterable(batches)) == rows
    assert not sizes or max(sizes) - min(sizes) <= 1
    assert not sizes or max(sizes) <= batch_size
    assert divided is (lanes > 1 and len(rows) >= lanes * least and batch_size >= lanes)
    if divided:
        assert len(batches) % lanes == 0
        assert max(sizes) <= batch_size // lanes
    else:
        assert len(batches) == -(-len(rows) // batch_size)
