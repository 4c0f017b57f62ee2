"""What tests of sources share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loopback.hub_support import _no_tokens_or_proxies_of_this_machine, hub, naps
from tests.support.s3_faults import FaultServer
from tests.support.s3_server import aws_environment

__all__ = ["_no_tokens_or_proxies_of_this_machine", "hub", "naps"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FaultServer]:
    """An S3 server that does as it is told."""
    with FaultServer() as running:
        aws_environment(monkeypatch, running.url, tmp_path)
        yield running
