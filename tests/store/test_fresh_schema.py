"""A new store is made by one script, which must make what the migrations make."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.fresh_schema import TARGET, by_migrations


def test_the_script_makes_what_the_migrations_make() -> None:
    assert TARGET.read_text() == by_migrations(), "run: python -m tests.support.fresh_schema"


def test_a_new_store_is_made_without_importing_sqlite_utils(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from manifestd.store import open_store\n"
        f"open_store(Path({str(tmp_path / 'new.db')!r}), write=True).close()\n"
        "sys.exit('sqlite_utils' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
