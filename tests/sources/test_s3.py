"""The S3 source over moto: listing, paging, versions, conditions, names. Never checksums: moto lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from manifestd.errors import ChangedError, ConfigError, EmptySourceError, SourceNotFoundError
from manifestd.model.entry import Entry, Problem
from manifestd.model.reference import parse_s3
from manifestd.sources.base import Source, SourceSettings
from manifestd.sources.s3 import S3Source
from tests.contracts.source_suite import (
    ODD_NAMES,
    Place,
    SourceContract,
    content,
    everything,
    listed,
)

QUICK = SourceSettings(retry_budget=0.0)


def source_of(text: str, **options: Any) -> S3Source:
    return S3Source(parse_s3(text), SourceSettings(retry_budget=0.0, options=options))


def seen(source: S3Source) -> tuple[dict[str, Entry], list[Problem]]:
    found = everything(source, source.resolve())
    source.close()
    return found


class _MotoPlace:
    def __init__(self, owner: Any) -> None:
        self._owner = owner
        self._made: list[Source[Any]] = []

    def make(self, tree: Mapping[str, bytes]) -> Source[Any]:
        for path, data in tree.items():
            self._owner.put_object(Bucket="models", Key=f"org/name/{path}", Body=data)
        return self._source("s3://models/org/name/")

    def change(self, path: str, data: bytes) -> None:
        self._owner.put_object(Bucket="models", Key=f"org/name/{path}", Body=data)

    def missing(self) -> Source[Any]:
        return self._source("s3://no-such-bucket/org/name/")

    def _source(self, text: str) -> Source[Any]:
        source = S3Source(parse_s3(text), QUICK)
        self._made.append(source)
        return source

    def close(self) -> None:
        for source in self._made:
            source.close()


class TestContract(SourceContract):
    # moto answers 404 for a key with a newline; the scripted server covers that one.
    odd_names = tuple(name for name in ODD_NAMES if "\n" not in name)

    @pytest.fixture
    def place(self, s3: Any) -> Iterator[Place]:
        place = _MotoPlace(s3)
        yield place
        place.close()


def test_keys_that_look_like_paths_are_kept_literally(s3: Any) -> None:
    keys = ["//x", "x//y", "../up", "x/../y", "./dot", "t ", "ctl\x01", "k" * 1020, "é" * 500]
    for key in keys:
        s3.put_object(Bucket="models", Key=f"p/{key}", Body=key.encode())
    source = source_of("s3://models/p/")
    resolved = source.resolve()
    entries = listed(source, resolved)
    assert sorted(entries) == sorted(keys)
    # Twice: the first reads go botocore's way, the rest through the lane.
    for _ in range(2):
        assert {k: content(source, resolved, e).decode() for k, e in entries.items()} == {
            k: k for k in keys
        }
    source.close()


def test_a_prefix_is_a_folder_with_or_without_its_slash(s3: Any) -> None:
    for key in ("p/a", "p2/b", "p"):
        s3.put_object(Bucket="models", Key=key, Body=b"1")
    with_slash, without = source_of("s3://models/p/"), source_of("s3://models/p")
    assert with_slash.resolve().place == without.resolve().place == "s3://models/p/"
    assert set(seen(with_slash)[0]) == set(seen(without)[0]) == {"a"}


def test_a_whole_bucket_can_be_listed_and_is_named_after_itself(s3: Any) -> None:
    s3.put_object(Bucket="models", Key="a/b", Body=b"1")
    source = source_of("s3://models")
    assert source.resolve().name == "models"
    assert set(seen(source)[0]) == {"a/b"}


def test_directory_markers_are_left_out_and_counted_in_one_note(s3: Any) -> None:
    for key, body in (("p/", b""), ("p/d/", b""), ("p/d/x", b"1"), ("p/full/", b"bytes")):
        s3.put_object(Bucket="models", Key=key, Body=body)
    entries, problems = seen(source_of("s3://models/p/"))
    assert set(entries) == {"d/x", "full/"}
    assert [(one.code, one.severity) for one in problems] == [("left-out", "note")]
    assert problems[0].what.startswith("2 directory markers")


def test_a_key_that_is_the_prefix_and_has_content_is_not_passed_over_in_silence(s3: Any) -> None:
    s3.put_object(Bucket="models", Key="p/", Body=b"bytes")
    s3.put_object(Bucket="models", Key="p/x", Body=b"1")
    entries, problems = seen(source_of("s3://models/p/"))
    assert set(entries) == {"x"}
    assert [(one.code, one.severity) for one in problems] == [("unreadable", "error")]


def test_an_empty_prefix_is_an_error_that_names_its_neighbours(s3: Any) -> None:
    s3.put_object(Bucket="models", Key="gpt2-v1/x", Body=b"1")
    source = source_of("s3://models/gpt2")
    with pytest.raises(EmptySourceError) as caught:
        list(source.list(source.resolve()))
    assert "s3://models/gpt2-v1/" in str(caught.value.hint)
    source.close()


def test_a_prefix_with_only_markers_is_empty(s3: Any) -> None:
    s3.put_object(Bucket="models", Key="p/", Body=b"")
    source = source_of("s3://models/p/")
    with pytest.raises(EmptySourceError):
        list(source.list(source.resolve()))
    source.close()


def test_version_ids_are_recorded_and_pin_the_bytes_that_were_listed(s3: Any) -> None:
    s3.put_object(Bucket="models", Key="p/old", Body=b"before versions")
    s3.put_bucket_versioning(Bucket="models", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="models", Key="p/x", Body=b"first")
    version = s3.put_object(Bucket="models", Key="p/x", Body=b"other")["VersionId"]
    s3.put_object(Bucket="models", Key="p/gone", Body=b"1")
    s3.delete_object(Bucket="models", Key="p/gone")
    source = source_of("s3://models/p/")
    resolved = source.resolve()
    assert resolved.facts["versioning"] == "enabled"
    entries = listed(source, resolved)
    assert set(entries) == {"old", "x"}
    assert entries["x"].identity["versionId"] == version
    assert entries["old"].identity["versionId"] == "null"
    s3.put_object(Bucket="models", Key="p/x", Body=b"newer")
    assert content(source, resolved, entries["x"]) == b"other"
    assert content(source, resolved, entries["old"]) == b"before versions"
    source.close()


def test_without_versioning_no_version_id_is_claimed(s3: Any) -> None:
    s3.put_object(Bucket="models", Key="p/x", Body=b"1")
    source = source_of("s3://models/p/")
    resolved = source.resolve()
    assert resolved.facts["versioning"] == "off"
    assert "versionId" not in listed(source, resolved)["x"].identity
    source.close()


def test_a_deleted_object_is_a_change(s3: Any) -> None:
    s3.put_object(Bucket="models", Key="p/x", Body=b"1")
    source = source_of("s3://models/p/")
    resolved = source.resolve()
    entry = listed(source, resolved)["x"]
    s3.delete_object(Bucket="models", Key="p/x")
    with pytest.raises(ChangedError, match="deleted"):
        content(source, resolved, entry)
    source.close()


def test_servers_that_lie_about_checksums_are_not_believed(s3: Any) -> None:
    s3.put_object(Bucket="models", Key="p/x", Body=b"1", ChecksumAlgorithm="SHA256")
    entries, _ = seen(source_of("s3://models/p/", heads="always"))
    assert entries["x"].digests == {}


def test_a_missing_bucket_says_what_to_check(s3: Any) -> None:
    source = source_of("s3://not-there/p/")
    with pytest.raises(SourceNotFoundError, match="not-there") as caught:
        source.resolve()
    assert caught.value.hint is not None
    source.close()


def test_an_unknown_option_is_named(s3: Any) -> None:
    with pytest.raises(ConfigError, match="requesterPay"):
        source_of("s3://models/p/", requesterPay=True)
