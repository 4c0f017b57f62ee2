"""A real S3 implementation for tests: LocalStack's provider, in an environment of its own.

It pins libraries that this project does not want, so it lives in ``.venv-s3``
(``python -m tests.support.real_s3`` makes it; CI tries to). Without it, or a server named
by ``MANIFESTD_TEST_S3``, the tests that need one are skipped.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

FOLDER: Final = Path(__file__).parents[2] / ".venv-s3"
REQUIREMENTS: Final = (
    "localstack-core[base-runtime]==4.13.1",
    "cbor2<5.8",
    "pyopenssl<24.3",
)
"""The last release that starts without an account, and what it breaks with when newer."""

_PATIENCE: Final = 60.0


def install(folder: Path = FOLDER) -> None:
    """Make the environment."""
    venv.create(folder, with_pip=True, clear=True)
    subprocess.run(
        [folder / "bin" / "python", "-m", "pip", "install", "-qq", "--disable-pip-version-check",
         *REQUIREMENTS],
        check=True,
    )  # fmt: skip


@contextmanager
def real_s3() -> Iterator[str]:
    """URL of a running server; skips the test where there is none."""
    named = os.environ.get("MANIFESTD_TEST_S3")
    if named:
        yield named
        return
    python = FOLDER / "bin" / "python"
    if not python.exists():
        pytest.skip("no real S3 server: run python -m tests.support.real_s3")
    with tempfile.TemporaryDirectory(prefix="manifestd-s3-") as home:
        yield from _localstack(python, Path(home))


def _localstack(python: Path, home: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "FILESYSTEM_ROOT": str(home),
        "GATEWAY_SERVER": "hypercorn",
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "SERVICES": "s3",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "DISABLE_EVENTS": "1",
        "DNS_ADDRESS": "0",
    }
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [python, "-m", "localstack.runtime.main"],
            env=environment, cwd=home, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, server, home / "log")
        yield url
    finally:
        server.terminate()
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            with urllib.request.urlopen(f"{url}/_localstack/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if server.poll() is not None or time.monotonic() > deadline:
                text = log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"the S3 server did not start: {text}") from None
            time.sleep(0.2)


if __name__ == "__main__":
    install()
    sys.stdout.write(f"{FOLDER}\n")
