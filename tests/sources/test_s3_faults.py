"""Reading through every fault a network or a server has: the true bytes or a clear error."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from manifestd.errors import (
    AccessDeniedError,
    ChangedError,
    ManifestdError,
    MismatchError,
    RateLimitedError,
    SourceNotFoundError,
    TransientError,
    UnreachableError,
    UnreadableError,
)
from manifestd.model.entry import Entry, Measurement, Problem
from manifestd.model.reference import parse_s3
from manifestd.reading.measure import RetryBudget, measure
from manifestd.reading.wants import Wants
from manifestd.sources.base import Resolved, SourceSettings
from manifestd.sources.s3 import S3Source
from tests.contracts.source_suite import content
from tests.support.s3_faults import (
    Cut,
    Fault,
    FaultServer,
    IgnoreConditions,
    IgnoreRange,
    NoLength,
    Reply,
    Reset,
    Seen,
    Stall,
    Stored,
    Swap,
    WrongRange,
    error,
)
from tests.support.s3_server import aws_environment

DATA = b"".join(number.to_bytes(4, "big") for number in range(600_000))
TRUTH = hashlib.sha256(DATA).hexdigest()
OTHER = bytes(len(DATA))

Opener = Callable[..., tuple[S3Source, Resolved, Entry]]


@pytest.fixture
def opened(server: FaultServer) -> Iterator[Opener]:
    """Lists one object ``p/x`` and returns its source and entry."""
    sources: list[S3Source] = []

    def run(data: bytes = DATA, **parts: Any) -> tuple[S3Source, Resolved, Entry]:
        server.put("p/x", data, **parts)
        source = S3Source(
            parse_s3("s3://bucket/p/"),
            SourceSettings(retry_budget=0.0, read_timeout=0.3, options={"heads": "never"}),
        )
        sources.append(source)
        resolved = source.resolve()
        entries = [item for item in source.list(resolved) if isinstance(item, Entry)]
        return source, resolved, entries[0]

    yield run
    for source in sources:
        source.close()


def read(source: S3Source, resolved: Resolved, entry: Entry) -> Measurement:
    return measure(
        lambda offset: source.open(resolved, entry, offset),
        entry.path,
        entry.size,
        Wants(chunks=()),
        budget=RetryBudget(seconds=10, tries=8),
        sleep=lambda _: None,
    )


@pytest.mark.parametrize(
    "faults",
    [
        [Cut(700_000), Cut(700_000)],
        [Reset(300_000)] * 4,
        [Stall(500_000)],
        [Cut(700_000), IgnoreRange()],
        [Cut(700_000), error(503, "SlowDown"), None],
        [error(500, "InternalError"), error(503, "SlowDown"), None],
        [Cut(0), Cut(0), None],
    ],
    ids=[
        "cut twice",
        "reset every 300 kB",
        "stalled",
        "cut, then a server that ignores ranges",
        "cut, then throttled",
        "failing, then throttled",
        "cut before the first byte",
    ],
)
def test_what_breaks_is_resumed_to_the_true_digest(
    server: FaultServer, opened: Opener, faults: list[Fault | None]
) -> None:
    opening = opened()
    server.faults["p/x"].extend(faults)
    found = read(*opening)
    assert found.problem is None
    assert found.digests["sha256"] == TRUTH


@pytest.mark.parametrize(
    "faults",
    [
        [Cut(700_000), Swap(Stored(OTHER, "other"))],
        [Swap(Stored(OTHER, "other"))],
        [Swap(Stored(OTHER[:-1], "other"))],
    ],
    ids=["between two ranges", "before the first", "by a shorter one"],
)
def test_an_object_that_is_replaced_is_never_mixed(
    server: FaultServer, opened: Opener, faults: list[Fault]
) -> None:
    opening = opened()
    server.faults["p/x"].extend(faults)
    found = read(*opening)
    assert found.problem is not None
    assert found.problem.code == "changed-while-reading"
    assert found.digests == {}


def test_a_server_that_ignores_conditions_is_caught_by_the_entity_tag(
    server: FaultServer, opened: Opener
) -> None:
    opening = opened()
    server.objects["p/x"] = Stored(OTHER, "other")
    for offset in (0, 1000):
        server.faults["p/x"].append(IgnoreConditions())
        with pytest.raises(ChangedError, match="replaced"):
            content(*opening, offset)


def test_another_range_than_the_one_asked_for_is_refused(
    server: FaultServer, opened: Opener
) -> None:
    opening = opened()
    server.faults["p/x"].append(WrongRange())
    with pytest.raises(ChangedError, match="another range"):
        content(*opening, 1000)


def test_a_body_without_a_length_is_refused(server: FaultServer, opened: Opener) -> None:
    opening = opened()
    server.faults["p/x"].append(NoLength())
    with pytest.raises(UnreadableError, match="how long"):
        content(*opening)


def test_peeking_at_a_server_that_ignores_ranges_does_not_read_the_object(
    server: FaultServer, opened: Opener
) -> None:
    source, resolved, entry = opened()
    server.faults["p/x"].append(IgnoreRange())
    with pytest.raises(UnreadableError, match="Range"):
        source.peek(resolved, entry).read_at(8, 16)


def test_peeking_sends_exactly_the_bytes_that_were_asked_for(
    server: FaultServer, opened: Opener
) -> None:
    source, resolved, entry = opened()
    view = source.peek(resolved, entry)
    before = source.requests
    assert view.read_at(0, 8) + view.read_at(8, 1000) == DATA[:1008]
    assert source.requests == before + 2
    assert server.sent == 1008


def test_a_small_object_that_was_peeked_at_is_not_fetched_again(
    server: FaultServer, opened: Opener
) -> None:
    source, resolved, entry = opened(DATA[:5000])
    assert source.peek(resolved, entry).read_at(0, 8) == DATA[:8]
    assert content(source, resolved, entry) == DATA[:5000]
    assert server.sent == 5000
    # It is kept for one reading: a later one asks S3 again.
    server.objects["p/x"] = Stored(OTHER[:5000], "other")
    with pytest.raises(ChangedError):
        content(source, resolved, entry)


@pytest.mark.parametrize("by_lane", [False, True], ids=["botocore", "lane"])
def test_bytes_that_contradict_the_checksum_sent_with_them_are_corrupt(
    server: FaultServer, opened: Opener, by_lane: bool
) -> None:
    wrong = base64.b64encode(zlib.crc32(OTHER).to_bytes(4, "big")).decode()
    opening = opened(headers={"x-amz-checksum-crc32": wrong})
    if by_lane:
        server.put("p/first", b"1")
        source = opening[0]
        source._connect().head("p/first", version=None, checksums=False)
        assert source._connect()._lane.ready
    with pytest.raises(MismatchError, match="corrupt"):
        content(*opening)


def test_the_lane_checks_and_accepts_a_right_checksum(server: FaultServer, opened: Opener) -> None:
    right = base64.b64encode(zlib.crc32(DATA).to_bytes(4, "big")).decode()
    opening = opened(headers={"x-amz-checksum-crc32": right})
    for _ in range(2):
        assert content(*opening) == DATA
    gets = [one for one in server.seen if one.key == "p/x" and one.method == "GET"]
    assert all(one.headers["x-amz-checksum-mode"] == "ENABLED" for one in gets)


def test_a_checksum_of_the_whole_object_on_a_range_does_not_spoil_it(
    server: FaultServer, opened: Opener
) -> None:
    opening = opened()
    body = DATA[1000:]
    wrong = base64.b64encode(zlib.crc32(DATA).to_bytes(4, "big")).decode()
    server.faults["p/x"].append(
        Reply(
            206,
            {
                "ETag": f'"{hashlib.md5(DATA).hexdigest()}"',
                "Content-Range": f"bytes 1000-{len(DATA) - 1}/{len(DATA)}",
                "x-amz-checksum-crc32": wrong,
            },
            body,
        )
    )
    assert content(*opening, 1000) == body


def test_the_end_of_an_object_can_be_opened_without_a_request(
    server: FaultServer, opened: Opener
) -> None:
    source, resolved, entry = opened()
    before = len(server.seen)
    assert content(source, resolved, entry, entry.size) == b""
    assert len(server.seen) == before


ERRORS: dict[str, tuple[Reply, type[ManifestdError], str, str]] = {
    "archived": (
        error(403, "InvalidObjectState", "no", StorageClass="DEEP_ARCHIVE"),
        AccessDeniedError,
        "archived",
        "DEEP_ARCHIVE",
    ),
    "archived by tiering": (
        error(403, "InvalidObjectState", "no", StorageClass="INTELLIGENT_TIERING",
              AccessTier="ARCHIVE_ACCESS"),
        AccessDeniedError,
        "archived",
        "ARCHIVE_ACCESS",
    ),
    "key denied": (
        error(403, "AccessDenied", "User: x is not authorized to perform: kms:Decrypt"),
        AccessDeniedError,
        "access-denied",
        "encryption key",
    ),
    "key disabled": (
        error(400, "KMS.DisabledException", "arn is disabled"),
        AccessDeniedError,
        "access-denied",
        "encryption key",
    ),
    "denied": (error(403, "AccessDenied", "Access Denied"), AccessDeniedError, "access-denied",
               "access denied"),
    "customer's key": (
        error(400, "InvalidRequest", "The object was stored using a form of Server Side Encryption."),
        AccessDeniedError,
        "access-denied",
        "SSE-C",
    ),
    "unknown keys": (error(403, "InvalidAccessKeyId"), AccessDeniedError, "access-denied",
                     "not accepted"),
    "expired": (error(400, "ExpiredToken"), AccessDeniedError, "access-denied", "expired"),
    "clock": (error(403, "RequestTimeTooSkewed"), AccessDeniedError, "access-denied", "clock"),
    "gone": (error(404, "NoSuchKey"), ChangedError, "changed-while-reading", "deleted"),
    "marker": (error(405, "MethodNotAllowed"), ChangedError, "changed-while-reading", "deleted"),
    "shorter": (error(416, "InvalidRange"), ChangedError, "changed-while-reading", "replaced"),
    "throttled": (error(503, "SlowDown"), TransientError, "source-unreachable", "slow down"),
    "failing": (error(500, "InternalError"), TransientError, "source-unreachable", "failed"),
    "unheard of": (error(418, "Teapot", "short and stout"), UnreadableError, "unreadable", "Teapot"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_each_refusal_has_its_own_words(server: FaultServer, opened: Opener, name: str) -> None:
    reply, kind, code, words = ERRORS[name]
    opening = opened()
    server.faults["p/x"].extend([reply] * 4)
    with pytest.raises(kind) as caught:
        content(*opening)
    assert type(caught.value).code == code
    assert words in caught.value.what
    if name not in {"failing", "unheard of"}:
        assert caught.value.hint


def test_one_refused_object_does_not_stop_the_next(server: FaultServer, opened: Opener) -> None:
    opening = opened()
    server.faults["p/x"].append(error(403, "AccessDenied"))
    with pytest.raises(AccessDeniedError):
        content(*opening)
    assert content(*opening) == DATA


def test_throttling_says_so_and_how_long(server: FaultServer, opened: Opener) -> None:
    opening = opened()
    slow = error(503, "SlowDown")
    server.faults["p/x"].append(slow._replace(headers={"retry-after": "7"}))
    with pytest.raises(TransientError) as caught:
        content(*opening)
    assert caught.value.throttled
    assert caught.value.retry_after == 7


def test_expired_credentials_are_fetched_anew_once(
    server: FaultServer, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = opened()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "newer")
    server.faults["p/x"].append(error(400, "ExpiredToken"))
    assert content(*opening) == DATA
    assert "Credential=newer/" in server.seen[-1].headers["authorization"]


def test_credentials_that_stay_expired_are_not_asked_for_again_and_again(
    server: FaultServer, opened: Opener
) -> None:
    opening = opened()
    for _ in range(3):
        server.faults["p/x"].extend([error(400, "ExpiredToken")] * 2)
        with pytest.raises(AccessDeniedError, match="expired"):
            content(*opening)
    assert server.count("GET", "p/x") <= 5


def test_without_the_right_to_read_versions_the_condition_pins_the_object(
    server: FaultServer, opened: Opener
) -> None:
    server.versioning = "Enabled"

    def denied(seen: Seen) -> Reply | None:
        return error(403, "AccessDenied") if "versionId" in seen.query else None

    server.replies["GET", "p/x"] = denied
    opening = opened(version="v1")
    assert content(*opening) == DATA
    server.put("p/x", OTHER, etag=hashlib.md5(DATA).hexdigest(), version="v2")
    with pytest.raises(ChangedError):
        content(*opening)


def test_requester_pays_is_sent_only_when_asked_for(server: FaultServer) -> None:
    def must_pay(seen: Seen) -> Reply | None:
        return None if "x-amz-request-payer" in seen.headers else error(403, "AccessDenied")

    server.put("p/x", DATA)
    server.replies["GET", "p/x"] = server.replies["HEAD", "p/x"] = must_pay
    refused, paid = (
        S3Source(parse_s3("s3://bucket/p/"), SourceSettings(retry_budget=0, options=options))
        for options in ({}, {"requesterPays": True})
    )
    resolved = refused.resolve()
    entry = next(item for item in refused.list(resolved) if isinstance(item, Entry))
    with pytest.raises(AccessDeniedError) as caught:
        content(refused, resolved, entry)
    assert "--request-payer" in str(caught.value.hint)
    resolved = paid.resolve()
    assert resolved.facts["requesterPays"] is True
    for _ in range(2):
        assert content(paid, resolved, entry) == DATA
    refused.close()
    paid.close()


def test_anonymous_reading_signs_nothing(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    server.put("p/x", DATA)
    source = S3Source(parse_s3("s3://bucket/p/"), SourceSettings(options={"anonymous": True}))
    resolved = source.resolve()
    entry = next(item for item in source.list(resolved) if isinstance(item, Entry))
    for _ in range(2):
        assert content(source, resolved, entry) == DATA
    assert not any("authorization" in one.headers for one in server.seen)
    source.close()


def test_no_credentials_is_said_in_words(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    source = S3Source(parse_s3("s3://bucket/p/"), SourceSettings(retry_budget=0))
    with pytest.raises(AccessDeniedError, match="credentials") as caught:
        source.resolve()
    assert "AWS_PROFILE" in str(caught.value.hint)
    source.close()


def test_a_listing_with_broken_xml_is_asked_for_again(server: FaultServer) -> None:
    server.put("p/x", b"1")
    server.broken_pages = 2
    source = S3Source(
        parse_s3("s3://bucket/p/"), SourceSettings(retry_budget=30, options={"heads": "never"})
    )
    assert [item.path for item in source.list(source.resolve()) if isinstance(item, Entry)] == ["x"]
    server.broken_pages = 100
    with pytest.raises(UnreachableError):
        list(source.list(source.resolve()))
    source.close()


def test_paging_goes_on_to_the_end(server: FaultServer) -> None:
    server.page = 7
    names = {f"p/{number:03}" for number in range(100)}
    for name in names:
        server.put(name, b"1")
    source = S3Source(parse_s3("s3://bucket/p/"), SourceSettings(options={"heads": "never"}))
    found = {item.path for item in source.list(source.resolve()) if isinstance(item, Entry)}
    assert {f"p/{path}" for path in found} == names
    assert source.requests == len(server.seen) == 1 + 15
    source.close()


def test_a_listing_that_does_not_say_where_it_goes_on_is_an_error(server: FaultServer) -> None:
    server.replies["GET", ""] = lambda seen: (
        None
        if "versioning" in seen.query
        else Reply(body=b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>")
    )
    source = S3Source(parse_s3("s3://bucket/p/"), SourceSettings(retry_budget=0))
    with pytest.raises(UnreachableError, match="where"):
        list(source.list(source.resolve()))
    source.close()


def test_a_key_outside_the_prefix_is_reported_not_taken(server: FaultServer) -> None:
    server.put("q/evil", b"1")
    server.replies["GET", ""] = lambda seen: (
        None if "prefix" not in seen.query or seen.query["prefix"] == "" else listing_of(server)
    )
    source = S3Source(parse_s3("s3://bucket/p/"), SourceSettings(retry_budget=0))
    items = list(source.list(source.resolve()))
    assert [(type(item), item.code) for item in items if isinstance(item, Problem)] == [
        (Problem, "unreadable")
    ]
    assert not any(isinstance(item, Entry) for item in items)
    source.close()


def listing_of(server: FaultServer) -> Reply:
    key = next(iter(server.objects))
    return Reply(
        body=(
            f"<ListBucketResult><Contents><Key>{key}</Key><Size>1</Size>"
            "<ETag>x</ETag></Contents></ListBucketResult>"
        ).encode()
    )


def test_names_with_line_breaks_and_controls_are_read_under_their_own_name(
    server: FaultServer,
) -> None:
    keys = ["line\nbreak", "ctl\x01\x7f", "\u202etxt", "a+b c%41", "..", "."]
    for key in keys:
        server.put(f"p/{key}", key.encode())
    source = S3Source(parse_s3("s3://bucket/p/"), SourceSettings(options={"heads": "never"}))
    resolved = source.resolve()
    entries = {item.path: item for item in source.list(resolved) if isinstance(item, Entry)}
    for _ in range(2):
        assert {k: content(source, resolved, e).decode() for k, e in entries.items()} == {
            k: k for k in keys
        }
    source.close()


def test_an_unreachable_endpoint_is_said_within_seconds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    aws_environment(monkeypatch, "http://127.0.0.1:9", tmp_path)
    source = S3Source(parse_s3("s3://bucket/p/"), SourceSettings())
    with pytest.raises(UnreachableError, match="reached") as caught:
        source.resolve()
    assert not isinstance(caught.value, TransientError)
    source.close()


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (error(403, "AccessDenied"), AccessDeniedError),
        (error(503, "SlowDown"), RateLimitedError),
        (error(404, "NoSuchBucket"), SourceNotFoundError),
    ],
    ids=["denied", "throttled", "no bucket"],
)
def test_a_listing_that_is_refused_ends_in_a_final_error(
    server: FaultServer, reply: Reply, kind: type[ManifestdError]
) -> None:
    server.replies["GET", ""] = lambda seen: None if "versioning" in seen.query else reply
    source = S3Source(parse_s3("s3://bucket/p/"), SourceSettings(retry_budget=0))
    with pytest.raises(kind):
        list(source.list(source.resolve()))
    source.close()


def test_a_bucket_in_another_region_is_named_with_the_variable_that_counts(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = error(301, "PermanentRedirect")._replace(headers={"x-amz-bucket-region": "eu-west-1"})
    server.replies["GET", ""] = lambda _: moved
    server.replies["HEAD", ""] = lambda _: moved._replace(body=b"")
    source = S3Source(parse_s3("s3://bucket/p/"), SourceSettings(retry_budget=0))
    with pytest.raises(UnreachableError, match="another region") as caught:
        source.resolve()
    source.close()
    assert caught.value.hint is not None
    name, _, region = caught.value.hint.removeprefix("set ").partition("=")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setenv(name, region)
    assert botocore.session.get_session().get_config_variable("region") == "eu-west-1"


def test_without_the_right_to_ask_for_versions_the_snapshot_goes_on_and_says_so(
    server: FaultServer,
) -> None:
    server.versioning = None
    server.put("p/x", b"1")
    server.replies["GET", ""] = lambda seen: (
        error(403, "AccessDenied") if "versions" in seen.query else None
    )
    source = S3Source(parse_s3("s3://bucket/p/"), SourceSettings(retry_budget=0))
    resolved = source.resolve()
    assert [note.code for note in resolved.notes] == ["versions-unknown"]
    assert [item.path for item in source.list(resolved) if isinstance(item, Entry)] == ["x"]
    source.close()
