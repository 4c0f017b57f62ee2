"""Machines whose OpenSSL allows FIPS algorithms only: what is no security is said to be none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FIPS = """
openssl_conf = init
[init]
providers = providers
alg_section = algorithms
[algorithms]
default_properties = fips=yes
[providers]
default = ordinary
[ordinary]
activate = 1
"""

PROGRAM = """
import hashlib
try:
    hashlib.md5(b"")
except ValueError:
    pass
else:
    raise SystemExit("this Python takes an MD5 from elsewhere")
from manifestd.reading.algorithms import hasher
from manifestd.sources.s3_checksums import composite
for algorithm in ("md5", "sha1"):
    made = hasher(algorithm)()
    made.update(b"abc")
    print(algorithm, made.hexdigest())
print(composite("md5", ["00" * 16, "11" * 16]))
"""


def test_weak_digests_are_computed_where_fips_mode_forbids_them_for_security(
    tmp_path: Path,
) -> None:
    (tmp_path / "openssl.cnf").write_text(FIPS)
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "OPENSSL_CONF": str(tmp_path / "openssl.cnf")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "from elsewhere" in ran.stderr:
        pytest.skip("hashlib here has algorithms that OpenSSL does not govern")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == [
        "md5", "900150983cd24fb0d6963f7d28e17f72",
        "sha1", "a9993e364706816aba3e25717850c26c9cd0d89d",
        "ff2469b76227cbc8114b653551a163de",
    ]  # fmt: skip
