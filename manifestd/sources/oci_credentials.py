"""Credentials for registries, from where docker keeps them: ``config.json`` and its helpers.

Read: ``auths`` (``auth``, ``identitytoken``, ``registrytoken``), ``credHelpers`` and
``credsStore`` of ``$DOCKER_CONFIG/config.json`` or ``~/.docker/config.json``. A helper is a
program of the user's; it runs only when the configuration names it for this registry.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from manifestd import canonical
from manifestd.display import printable
from manifestd.errors import AccessDeniedError, ConfigError, MalformedError
from manifestd.redact import redact

HELPER_SECONDS: Final = 30.0
MAX_CONFIG: Final = 4 * 1024 * 1024
MAX_ANSWER: Final = 256 * 1024
DOCKER_HUB: Final = "https://index.docker.io/v1/"
"""The name under which docker keeps the credentials of docker.io."""

_HELPER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_TOKEN_USER: Final = "<token>"  # noqa: S105  (docker's mark for "the secret is a token")


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """Who to be at a registry. Its text form hides the secrets.

    Attributes:
        user: Name for basic authentication.
        password: Its password.
        refresh: An identity token, to be exchanged for access tokens.
        bearer: A token to be sent as it is.
    """

    user: str = ""
    password: str = ""
    refresh: str = ""
    bearer: str = ""

    def __repr__(self) -> str:
        return "Credentials([hidden])"

    def basic(self) -> str | None:
        """Value of an ``Authorization`` header of the basic kind."""
        if not self.user:
            return None
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def credentials_for(key: str, environ: Mapping[str, str]) -> Credentials | None:
    """What docker would use for a registry, or None for nobody.

    Args:
        key: ``host[:port]``, or :data:`DOCKER_HUB`.
        environ: Where ``DOCKER_CONFIG`` and ``HOME`` are looked up.

    Raises:
        ConfigError: The configuration cannot be understood.
        AccessDeniedError: A configured helper fails.
    """
    folder = environ.get("DOCKER_CONFIG") or str(Path(environ.get("HOME") or "/") / ".docker")
    path = Path(folder) / "config.json"
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(f"{printable(str(path))} cannot be read: {error.strerror}") from error
    try:
        config = canonical.decode_foreign(data, name="docker's config.json", max_size=MAX_CONFIG)
    except MalformedError as error:
        raise ConfigError(error.what, hint=f"mend {printable(str(path))}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{printable(str(path))} is no JSON object")
    helper = _member(config, "credHelpers").get(key)
    stored = _member(config, "auths")
    found = next((stored[name] for name in stored if _key_of(name) == key), None)
    if helper is None and (found is None or not any(_member(stored, name) for name in stored)):
        # `docker login` with a store leaves an empty entry behind; without one nobody logged in.
        helper = config.get("credsStore") if found is not None else None
    if isinstance(helper, str) and helper:
        return _from_helper(helper, key, environ)
    return _from_entry(found) if isinstance(found, dict) else None


def _key_of(name: str) -> str:
    """Docker keeps registries under ``host``, ``https://host`` and ``https://host/v1/``."""
    if name == DOCKER_HUB:
        return name
    return name.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _member(document: dict[str, Any], name: str) -> dict[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _from_entry(entry: dict[str, Any]) -> Credentials | None:
    user, password = _text(entry, "username"), _text(entry, "password")
    if _text(entry, "auth"):
        try:
            decoded = base64.b64decode(_text(entry, "auth"), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise ConfigError("docker's config.json has an `auth` that is not base64") from error
        user, _, password = decoded.partition(":")
    found = Credentials(
        user=user,
        password=password.rstrip("\0"),
        refresh=_text(entry, "identitytoken"),
        bearer=_text(entry, "registrytoken"),
    )
    if not (found.bearer.isascii() and found.bearer.isprintable()):
        # The HTTP library would quote it in its refusal.
        raise ConfigError("docker's config.json has a `registrytoken` that is no token")
    return None if found == Credentials() else found


def _text(entry: dict[str, Any], name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) else ""


def _from_helper(name: str, key: str, environ: Mapping[str, str]) -> Credentials | None:
    """Ask ``docker-credential-NAME get``: the registry on stdin, JSON on stdout."""
    if not _HELPER.match(name):
        raise ConfigError(f"docker's config.json names an impossible helper: {printable(name)!r}")
    program = f"docker-credential-{name}"
    found = shutil.which(program, path=environ.get("PATH", os.defpath))
    if found is None:
        raise AccessDeniedError(
            f"{program} is not installed", why=f"docker's config.json names it for {key}"
        )
    try:
        done = subprocess.run(  # noqa: S603  (the user's own configuration names it)
            [found, "get"], input=key.encode(), capture_output=True, check=False,
            timeout=HELPER_SECONDS, env=dict(environ), cwd="/",
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise AccessDeniedError(f"{program} gave no answer in {HELPER_SECONDS:.0f} s") from error
    except OSError as error:
        raise AccessDeniedError(f"{program} cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        said = printable(redact(done.stdout[:300].decode("utf-8", "replace").strip()))
        if "credentials not found" in said.lower():
            return None
        raise AccessDeniedError(f"{program} failed for {key}", why=said or None)
    try:
        answer = canonical.decode_foreign(done.stdout, name=program, max_size=MAX_ANSWER)
    except MalformedError as error:
        raise AccessDeniedError(f"{program} does not answer as a helper does") from error
    if not isinstance(answer, dict):
        raise AccessDeniedError(f"{program} does not answer as a helper does")
    user, secret = _text(answer, "Username"), _text(answer, "Secret")
    if user == _TOKEN_USER:
        return Credentials(refresh=secret)
    return Credentials(user=user, password=secret)
