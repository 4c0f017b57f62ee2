"""What AWS's chain of variables, files and programs gives when it is set wrongly."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifestd.errors import AccessDeniedError, ConfigError
from manifestd.model.entry import Entry
from manifestd.model.reference import parse_s3
from manifestd.sources.base import SourceSettings
from manifestd.sources.s3 import S3Source
from tests.contracts.source_suite import content
from tests.support.s3_faults import FaultServer


def source() -> S3Source:
    return S3Source(parse_s3("s3://bucket/p/"), SourceSettings(retry_budget=0.0))


@pytest.mark.parametrize("region", ["", None])
def test_a_region_set_to_nothing_is_none(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, region: str | None
) -> None:
    if region is None:
        monkeypatch.delenv("AWS_DEFAULT_REGION")
    else:
        monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    server.put("p/a.txt", b"a")
    opened = source()
    resolved = opened.resolve()
    (entry,) = opened.list(resolved)
    assert isinstance(entry, Entry)
    assert content(opened, resolved, entry) == b"a"
    opened.close()


def test_a_region_that_is_none_is_a_wrong_setting(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu west 1")
    with pytest.raises(ConfigError, match="AWS configuration") as caught:
        source().resolve()
    assert caught.value.hint
    assert not server.seen


@pytest.mark.parametrize("program", ["/nowhere/to/be/found", "/bin/echo hello", "/bin/echo {}"])
def test_a_program_for_credentials_that_gives_none_is_said_to_give_none(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str
) -> None:
    config = tmp_path / "aws"
    config.write_text(f"[default]\ncredential_process = {program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(AccessDeniedError, match="no usable AWS credentials") as caught:
        source().resolve()
    assert caught.value.hint
    assert not server.seen
