"""What tests around the loopback Hub share: a hub, a source over it, and time that is a list."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Read when huggingface_hub is imported, so before any test imports it.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")

import huggingface_hub.constants
import pytest

from manifestd.loopback.hub import LoopbackHub
from manifestd.model.reference import parse_hub
from manifestd.sources.base import SourceSettings
from manifestd.sources.hub import HubSource

WEIGHTS = bytes(range(256)) * 4096
FILES = {
    "README.md": b"---\nlicense: mit\n---\n# tiny\n",
    "config.json": b'{"hidden_size": 8}\n',
    "model.safetensors": WEIGHTS,
    "onnx/model.onnx": WEIGHTS[:70_000],
}


_opened: list[HubSource] = []


class Naps:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.taken.append(seconds)

    def clock(self) -> float:
        return sum(self.taken)


@pytest.fixture(autouse=True)
def _no_tokens_or_proxies_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    yield
    while _opened:
        _opened.pop().close()


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as server:
        yield server


@pytest.fixture
def naps() -> Naps:
    return Naps()


def source_over(
    hub: LoopbackHub | str,
    reference: str = "org/name",
    *,
    naps: Naps | None = None,
    read_timeout: float = 5.0,
    retry_budget: float = 60.0,
) -> HubSource:
    """A source over a hub or an endpoint, closed at the end of the test."""
    time = naps or Naps()
    settings = SourceSettings(
        connect_timeout=2.0, read_timeout=read_timeout, retry_budget=retry_budget
    )
    source = HubSource(
        parse_hub(reference),
        settings,
        environ={"HF_ENDPOINT": hub if isinstance(hub, str) else hub.endpoint},
        sleep=time.sleep,
        clock=time.clock,
    )
    _opened.append(source)
    return source
