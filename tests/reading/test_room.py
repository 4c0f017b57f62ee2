"""Bodies in memory are bounded, and nobody waits for room for ever."""

from __future__ import annotations

import threading
import time
import weakref

from manifestd.reading.memory import return_large_blocks
from manifestd.reading.pool import run_tasks
from manifestd.reading.room import Room


def test_no_more_than_the_limit_is_held_and_all_get_their_turn() -> None:
    room = Room(100)
    held, peak, lock = 0, 0, threading.Lock()

    def work(size: int) -> int:
        nonlocal held, peak
        room.enter(size)
        with lock:
            held += size
            peak = max(peak, held)
        with lock:
            held -= size
        room.leave(size)
        return size

    sizes = [10, 60, 70, 30, 100, 5] * 20
    assert sorted(run_tasks(sizes, work, jobs=8)) == sorted(sizes)
    assert peak <= 100


def test_what_is_larger_than_the_room_gets_in_alone() -> None:
    room = Room(10)
    room.enter(1000)
    late = threading.Thread(target=room.enter, args=(1,))
    late.start()
    late.join(0.05)
    assert late.is_alive()
    room.leave(1000)
    late.join(5)
    assert not late.is_alive()


def test_closing_lets_everybody_in() -> None:
    room = Room(10)
    room.enter(10)
    waiting = [threading.Thread(target=room.enter, args=(10,)) for _ in range(3)]
    for thread in waiting:
        thread.start()
    room.close()
    for thread in waiting:
        thread.join(5)
        assert not thread.is_alive()


class Result:
    """Something that a weak reference can watch."""


def test_a_result_that_was_taken_is_held_by_no_thread() -> None:
    taken: list[weakref.ref[Result]] = []
    for result in run_tasks(range(20), lambda _: Result(), jobs=4):
        taken.append(weakref.ref(result))
        del result
        if len(taken) == 20:  # the threads wait for work that never comes
            deadline = time.monotonic() + 5
            while any(reference() is not None for reference in taken):
                assert time.monotonic() < deadline
                time.sleep(0.01)


def test_asking_the_c_library_for_large_blocks_back_never_fails() -> None:
    return_large_blocks()
    return_large_blocks()
