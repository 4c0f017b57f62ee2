"""How many requests a snapshot of a Hub repository may cost: a storm of them is a storm of 429s."""

from __future__ import annotations

import pytest

from manifestd.loopback.hub import LoopbackHub
from manifestd.loopback.models import tiny_model
from tests.e2e.desk import Desk

NAME = "acme/tiny"
FILES = tiny_model(NAME)
SMALL = len(FILES) - 1

LISTING = 2
"""What the revision is, and its one page of files."""

BUDGET = LISTING + 2 * SMALL + 4
"""Each small file and each of the two parts of a weight file's header is redirected once."""


@pytest.fixture
def repository(hub: LoopbackHub) -> LoopbackHub:
    hub.add_repo(NAME, FILES)
    return hub


def test_a_first_snapshot_asks_for_each_small_file_once(
    desk: Desk, repository: LoopbackHub
) -> None:
    taken = desk.json("snapshot", "hf", NAME)
    assert taken["requests"] == len(repository.requests) == BUDGET


def test_a_second_one_asks_for_nothing_but_the_listing(desk: Desk, repository: LoopbackHub) -> None:
    desk("snapshot", "hf", NAME)
    repository.forget_requests()
    taken = desk.json("snapshot", "hf", NAME)
    assert taken["requests"] == len(repository.requests) == LISTING


def test_a_refusal_for_haste_costs_one_request_more_and_no_storm(
    desk: Desk, repository: LoopbackHub
) -> None:
    repository.faults.add("hub /acme/tiny/resolve", "status:429:0", times=5)
    taken = desk.json("snapshot", "hf", NAME)
    refused = sum(exchange.status == 429 for exchange in repository.requests)
    assert (refused, len(repository.requests)) == (5, BUDGET + 5)
    assert taken["complete"] is True
