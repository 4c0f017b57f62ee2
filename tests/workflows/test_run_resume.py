"""A run that is stopped half-way keeps what it did; the next one goes on and reads no byte twice."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from urllib.parse import unquote

import pytest

from tests.support.s3_faults import Stall
from tests.workflows.run_world import World, by_name, configure, publish, ran

NAMES = tuple(f"acme/m{number}" for number in range(6))


def read(world: World) -> Counter[str]:
    """How often the content of each file was sent by either server, however little of it."""
    sent = Counter(
        f"s3 {unquote(seen.key)}"
        for seen in world.s3.seen
        if seen.method == "GET" and seen.key in world.s3.objects
    )
    sent.update(
        f"hub {exchange.file}" for exchange in world.hub.requests if exchange.file and exchange.sent
    )
    return sent


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_stopped_half_way_and_started_again_no_byte_is_read_twice(
    world: World, by: signal.Signals
) -> None:
    for name in NAMES:
        publish(world, name)
    configure(world, *NAMES)
    stuck = "acme/m3/config.json"
    world.s3.faults[stuck].append(Stall(0))
    process = world.start("-q", "run", "--format", "json")
    wanted = 2 * len(NAMES) * 9
    deadline = time.monotonic() + 60
    while len(read(world)) < wanted and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    # All but the stuck file have been sent; give what was sent the time to arrive.
    time.sleep(0.5)
    process.send_signal(by)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    stopped = json.loads(out)
    assert stopped["interrupted"] is True
    assert set(by_name(stopped)) == set(NAMES) - {"acme/m3"}
    assert stopped["counts"]["pass"] == 5
    assert any("1 models were not judged" in note for note in stopped["notes"])

    before = read(world)
    again = ran(world, code=0)
    assert again["counts"]["pass"] == 6
    fresh = read(world)
    fresh.subtract(before)
    assert {name for name, times in fresh.items() if times} == {f"s3 {stuck}"}
    config = len(world.s3.objects[stuck].data)
    assert by_name(again)["acme/m3"]["sides"]["mirror"]["bytesRead"] == config
    assert again["bytesRead"] == config


def test_interrupted_in_full_flight_no_object_is_read_twice(world: World) -> None:
    names = [f"acme/m{number:02}" for number in range(24)]
    for name in names:
        publish(world, name)
    configure(world, *names)
    for wanted in (60, 120):
        process = world.start("-q", "run", "--format", "json")
        deadline = time.monotonic() + 60
        while len(read(world)) < wanted and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130, err
        assert len(read(world)) < 18 * len(names)
    assert ran(world, code=0)["counts"]["pass"] == len(names)
    objects = {file: times for file, times in read(world).items() if file.startswith("s3 ")}
    assert len(objects) == 9 * len(names)
    assert set(objects.values()) == {1}


def test_what_a_killed_run_had_finished_is_known(world: World) -> None:
    for name in NAMES:
        publish(world, name)
    configure(world, *NAMES)
    world.s3.faults["acme/m3/config.json"].append(Stall(0))
    process = world.start("-q", "run")
    store = world.home / "snapshots/manifestd.db"
    deadline = time.monotonic() + 60
    found: list[str] = []
    while len(found) < 5 and time.monotonic() < deadline:
        time.sleep(0.1)
        status = world.run("status", "--format", "json")
        found = [model["name"] for model in status.json.get("models", [])]
    process.kill()
    process.communicate(timeout=30)
    assert set(found) == set(NAMES) - {"acme/m3"}
    status = world.run("status", "--format", "json").json
    assert {model["result"] for model in status["models"]} == {"pass"}
    assert status["lastRun"] is None
    assert world.run("store", "check").code == 0, store
    again = ran(world, code=0)
    assert again["counts"]["pass"] == 6
    assert again["bytesReused"] > 0
