"""What tests of workflows share: people with their keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workflows.release_world import Team


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where people's keys are; they are made once and never change."""
    return tmp_path_factory.mktemp("keys")


@pytest.fixture
def team(tmp_path: Path, keys: Path) -> Team:
    return Team(tmp_path, keys)
