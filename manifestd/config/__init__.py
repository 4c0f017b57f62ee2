"""``manifestd.toml``: found, read, checked for shape; every mistake named by its key.

``shape`` has the sections, ``diagnose`` finds the words for mistakes. Whether
models, sides and templates fit together is judged where they are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, Final

import msgspec

from manifestd import canonical
from manifestd.config.shape import DAYS, DEFAULT_STORE, Sections
from manifestd.errors import ConfigError

__all__ = ["DEFAULT_STORE", "FILE_NAME", "Config", "load_config", "parse_config"]

FILE_NAME: Final = "manifestd.toml"
MAX_SIZE: Final = 16 * 1024 * 1024
"""Bytes; 100,000 models have about half of this."""


class Config(Sections, frozen=True, kw_only=True):
    """The configuration in force: the sections, and where they came from.

    Attributes:
        path: The file; None: there is none and the defaults hold.
    """

    path: Path | None = None

    @property
    def label(self) -> str:
        """The file's name, for errors."""
        return str(self.path or FILE_NAME)

    @property
    def directory(self) -> Path:
        """What relative paths are relative to: the file's directory, else the working one."""
        return Path() if self.path is None else self.path.parent

    def resolve(self, path: str) -> Path:
        """A path of the configuration, seen from the working directory."""
        return self.directory / Path(path).expanduser()

    def store_path(self, environ: Mapping[str, str]) -> Path:
        """Where the store is: ``MANIFESTD_STORE``, ``store.path``, or the default beside the file.

        Args:
            environ: The environment's variables.
        """
        given = environ.get("MANIFESTD_STORE")
        return Path(given).expanduser() if given else self.resolve(self.store.path)

    def signing_key(self) -> str | None:
        """URI or path of the key that signs; None when none is configured."""
        key = self.signing.key
        if key is None or "://" in key:
            return key
        return str(self.resolve(key))


def load_config(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Load the configuration.

    Args:
        path: The file; None: ``MANIFESTD_CONFIG``, else ``manifestd.toml`` in the working
            directory, else the defaults.
        environ: The environment's variables.

    Raises:
        ConfigError: A file that was named does not exist, or the file cannot be read,
            is not TOML, or has unknown keys or wrong types.
    """
    named = path or (Path(environ["MANIFESTD_CONFIG"]) if environ.get("MANIFESTD_CONFIG") else None)
    file = named or Path(FILE_NAME)
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_SIZE + 1)
    except FileNotFoundError as error:
        if named is None:
            return Config()
        raise ConfigError(
            f"there is no configuration {file}", hint="manifestd init writes one"
        ) from error
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    return parse_config(data, file)


def parse_config(data: bytes, path: Path) -> Config:
    """The configuration in the bytes of the file ``path``.

    Raises:
        ConfigError: Too large, not UTF-8, not TOML, unknown keys or wrong types.
    """
    if len(data) > MAX_SIZE:
        raise ConfigError(f"{path} is too large for a configuration")
    import tomllib  # noqa: PLC0415  (0.01 s that a directory without configuration need not pay)

    try:
        document = tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    _fill_days(document)
    try:
        sections = msgspec.convert(document, canonical.prepared(Sections))
    except msgspec.ValidationError as error:
        raise _explain(document, path, error) from error
    values = {name: getattr(sections, name) for name in sections.__struct_fields__}
    return Config(path=path, **values)


def _fill_days(value: Any) -> None:
    """Make moments of bare dates: the start of the day or its end, as the key demands."""
    if isinstance(value, list):
        for item in value:
            _fill_days(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if type(item) is date and key in DAYS:
                clock = time.min if DAYS[key] == "start" else time.max
                value[key] = datetime.combine(item, clock, UTC)
            else:
                _fill_days(item)


def _explain(document: Any, path: Path, error: msgspec.ValidationError) -> ConfigError:
    from manifestd.config.diagnose import find_flaws  # noqa: PLC0415  (only on mistakes)

    flaw = next(find_flaws(document, Sections), None)
    if flaw is None:
        return ConfigError(f"{path}: {error}")
    hint = None
    if flaw.nearest is not None:
        hint = f"did you mean {flaw.nearest}?"
    elif flaw.known:
        hint = "known are " + ", ".join(flaw.known)
    facts = {"file": str(path), "key": flaw.key, "nearest": flaw.nearest}
    return ConfigError(f"{path}: {flaw.key}: {flaw.what}", hint=hint, facts=facts)
