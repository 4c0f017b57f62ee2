"""What tests of workflows share: people with their keys, and a world to run models in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflows.release_world import Team
from tests.workflows.run_world import World, new_world


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where people's keys are; they are made once and never change."""
    return tmp_path_factory.mktemp("keys")


@pytest.fixture
def team(tmp_path: Path, keys: Path) -> Team:
    return Team(tmp_path, keys)


@pytest.fixture
def world(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[World]:
    with new_world(monkeypatch, tmp_path, capsys) as made:
        yield made
