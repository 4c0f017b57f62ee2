"""The short way must ask exactly what botocore asks, and give way to it when in doubt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import IncompleteReadError

from manifestd.sources.base import SourceSettings
from manifestd.sources.s3_client import Answer, Connection, quick_timestamp
from manifestd.sources.s3_listing import utc
from manifestd.sources.s3_options import S3Options
from tests.support.s3_faults import Cut, FaultServer, Seen, error

KEYS = [
    "plain",
    "a b+c&d=e?f#g%41",
    "../up",
    "//x",
    "x//y/",
    "é",
    "e\u0301",
    "\x01\n\t",
    "\\",
    "~'\"*()!",
]


@pytest.fixture
def connection(server: FaultServer) -> Iterator[Connection]:
    made = Connection("bucket", S3Options(), SourceSettings(retry_budget=0.0))
    yield made
    made.close()


def fetch(connection: Connection, key: str, **parts: Any) -> Answer:
    wanted: dict[str, Any] = {"version": None, "etag": None, "span": None, "checked": False}
    answer = connection.get(key, **{**wanted, **parts})
    while answer.body.read(1000):
        pass
    return answer


VARIABLE = {"authorization", "x-amz-date", "amz-sdk-invocation-id", "amz-sdk-request", "user-agent"}


@pytest.mark.parametrize("key", KEYS)
def test_both_ways_send_the_same_request(
    server: FaultServer, connection: Connection, key: str
) -> None:
    server.put(key, b"data", etag="tag", version="v+1/=")
    asked: list[dict[str, Any]] = [
        {"version": "v+1/=", "etag": "tag", "span": "bytes=1-2"},
        {"version": "v+1/=", "etag": "tag", "checked": True},
    ]
    lane = connection._lane
    for parts in asked:
        lane.close()  # it has to be learned anew
        fetch(connection, key, **parts)
        fetch(connection, key, **parts)
        theirs, ours = server.seen[-2:]
        assert "amz-sdk-invocation-id" in theirs.headers
        assert "amz-sdk-invocation-id" not in ours.headers
        assert theirs[:3] == ours[:3]
        names = theirs.headers.keys() - VARIABLE
        assert {name: ours.headers.get(name) for name in names} == {
            name: theirs.headers[name] for name in names
        }


@pytest.mark.parametrize("key", KEYS)
def test_the_signature_is_over_what_was_sent(
    server: FaultServer, connection: Connection, key: str
) -> None:
    server.put(key, b"data")
    fetch(connection, key)
    fetch(connection, key, span="bytes=0-1")
    assert len(server.seen) == 2
    for seen in server.seen:
        assert signature(server, seen) == seen.headers["authorization"].rpartition("=")[2]


def signature(server: FaultServer, seen: Seen) -> str:
    """The signature that a server with the secret computes from what arrived."""
    from datetime import datetime
    from urllib.parse import quote, urlencode

    signed = seen.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    url = f"{server.url}/bucket/{quote(seen.key.encode(), safe='/~')}"
    if seen.query:
        url += "?" + urlencode(sorted(seen.query.items()), quote_via=quote, safe="")
    request = AWSRequest(
        method=seen.method,
        url=url,
        headers={name: seen.headers[name] for name in signed.split(";") if name != "host"},
    )
    stamp = datetime.strptime(seen.headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
    request.context["timestamp"] = stamp.strftime("%Y%m%dT%H%M%SZ")
    signer = S3SigV4Auth(Credentials("test", "not-a-secret"), "s3", "us-east-1")
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return str(signer.signature(text, request))


def test_what_is_no_success_is_asked_again_by_botocore(
    server: FaultServer, connection: Connection
) -> None:
    server.put("x", b"data")
    fetch(connection, "x")
    server.faults["x"].extend([error(403, "AccessDenied"), None])
    assert fetch(connection, "x").status == 200
    assert len(server.seen) == connection.requests == 3
    assert "amz-sdk-invocation-id" in server.seen[-1].headers
    # It was no overload, so the lane is taken again.
    fetch(connection, "x")
    assert "amz-sdk-invocation-id" not in server.seen[-1].headers


def test_an_overloaded_server_is_left_to_botocores_limiter(
    server: FaultServer, connection: Connection
) -> None:
    now = 0.0
    server.put("x", b"data")
    fetch(connection, "x")
    lane = connection._lane
    lane._clock = lambda: now
    server.faults["x"].extend([error(503, "SlowDown"), None])
    fetch(connection, "x")
    assert not lane.ready
    now = 31.0
    assert lane.ready


def test_a_connection_that_breaks_before_the_answer_is_no_error(
    server: FaultServer, connection: Connection
) -> None:
    server.put("x", b"data")
    fetch(connection, "x")
    server.faults["x"].append(Cut(0))
    with pytest.raises(IncompleteReadError, match="read"):
        fetch(connection, "x")
    assert fetch(connection, "x").status == 200


def test_head_gives_its_connection_back(server: FaultServer, connection: Connection) -> None:
    server.put("x", b"data")
    for _ in range(5):
        answer = connection.head("x", version=None, checksums=True)
        assert answer.length() == 4
        assert answer.body is None


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T12:00:00.000Z",
        "2026-03-01T12:00:00Z",
        "2026-03-01T14:00:00+02:00",
        "2026-03-01T12:00:00",
        "Sun, 01 Mar 2026 12:00:00 GMT",
        1772366400,
    ],
)
def test_times_are_read_as_botocore_reads_them(text: Any) -> None:
    assert utc(quick_timestamp(text)) == "2026-03-01T12:00:00Z"
