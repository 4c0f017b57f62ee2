"""Sources of one run share connections and answers, and still count and speak for themselves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from manifestd.errors import UnreachableError
from manifestd.loopback.hub import LoopbackHub
from manifestd.model.entry import Entry, File, Observation
from manifestd.model.reference import parse_hub, parse_s3
from manifestd.sources.base import Shared, SourceSettings
from manifestd.sources.hub import HubSource
from manifestd.sources.s3 import S3Source
from manifestd.sources.s3_evidence import WORTH_A_HEAD
from tests.loopback.hub_support import (
    FILES,
)
from tests.support.s3_server import aws_environment, client, moto_server


@pytest.fixture
def shared() -> Iterator[Shared]:
    made = Shared()
    yield made
    made.close()


def test_a_thing_is_made_once_for_all_threads_and_closed_at_the_end() -> None:
    class Thing:
        closed = False

        def close(self) -> None:
            self.closed = True

    shared, start, found = Shared(), threading.Barrier(8), list[Thing]()

    def ask() -> None:
        start.wait()
        found.append(shared.get("key", Thing))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(map(id, found))) == 1
    shared.close()
    assert found[0].closed


def test_what_could_not_be_made_is_tried_again() -> None:
    shared, tries = Shared(), [UnreachableError("not yet"), None]

    def make() -> str:
        if (error := tries.pop(0)) is not None:
            raise error
        return "made"

    with pytest.raises(UnreachableError):
        shared.get("key", make)
    assert shared.get("key", make) == "made"


def test_hub_sources_share_connections_and_count_their_own_requests(shared: Shared) -> None:
    with LoopbackHub() as hub:
        requests = []
        for number in range(3):
            hub.add_repo(f"org/m{number}", FILES)
            source = HubSource(
                parse_hub(f"org/m{number}"), SourceSettings(), environ={"HF_ENDPOINT": hub.endpoint}
            )
            source.shared = shared
            resolved = source.resolve()
            entries = [*source.list(resolved)]
            assert len(entries) == len(FILES)
            if number == 0:
                # Redirected to another origin: two on the wire, both its own.
                weights = next(e for e in entries if getattr(e, "path", "") == "model.safetensors")
                assert isinstance(weights, Entry)
                with source.open(resolved, weights) as stream:
                    assert sum(len(c) for c in stream.chunks(1 << 20)) == 1 << 20
            requests.append(source.requests)
            source.close()
        assert requests == [4, 2, 2]


def test_s3_sources_share_a_session_and_ask_once_about_a_bucket(
    shared: Shared, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with moto_server() as url:
        aws_environment(monkeypatch, url, tmp_path)
        owner = client(url)
        owner.create_bucket(Bucket="models")
        for number in range(3):
            owner.put_object(Bucket="models", Key=f"m{number}/config.json", Body=b"{}")
        requests = []
        for number in range(3):
            source = S3Source(
                parse_s3(f"s3://models/m{number}/"), SourceSettings(options={"heads": "never"})
            )
            source.shared = shared
            assert len([*source.list(source.resolve())]) == 1
            requests.append(source.requests)
            source.close()
        assert requests == [2, 1, 1]


def test_an_object_that_is_known_is_not_asked_about_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with moto_server() as url:
        aws_environment(monkeypatch, url, tmp_path)
        owner = client(url)
        owner.create_bucket(Bucket="models")
        for name in ("a", "b", "c"):
            owner.put_object(Bucket="models", Key=f"m/{name}", Body=name.encode() * WORTH_A_HEAD)

        def listed(known: dict[str, File]) -> tuple[list[Entry], int]:
            source = S3Source(parse_s3("s3://models/m/"), SourceSettings())
            source.known = known.get
            found = [e for e in source.list(source.resolve()) if isinstance(e, Entry)]
            source.close()
            return found, source.requests

        first, cost = listed({})
        heads = cost - 2
        assert heads > 0
        known = {
            entry.path: File(
                path=entry.path,
                size=entry.size,
                sha256="0" * 64,
                seen=Observation(
                    digests={"crc64nvme": "0" * 16, **entry.digests},
                    evidence={"sha256": "measured", "crc64nvme": "stored", **entry.evidence},
                    identity=entry.identity,
                    hints=entry.hints,
                ),
            )
            for entry in first
        }
        again, cost = listed(known)
        assert cost == 2
        # What the store said of this very object stands; what we measured is not its claim.
        assert [entry.digests for entry in again] == [
            {"crc64nvme": "0" * 16, **e.digests} for e in first
        ]
        assert {grade for entry in again for grade in entry.evidence.values()} == {"stored"}

        owner.put_object(Bucket="models", Key="m/b", Body=b"other" * WORTH_A_HEAD)
        changed, cost = listed(known)
        assert cost == 2 + 1
        assert "crc64nvme" not in changed[1].digests
