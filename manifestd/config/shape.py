"""The sections of ``manifestd.toml`` (contract, section 6): names, types and defaults, nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec

from manifestd.errors import ConfigError
from manifestd.model.change import Result
from manifestd.model.evidence import Grade
from manifestd.model.finding import Rule
from manifestd.model.snapshot import ReadMode
from manifestd.signing.entry import Moment, TrustEntry

Text = Annotated[str, msgspec.Meta(min_length=1)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Duration = Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]{0,4}[hdw]$(?!\n)")]
"""A number and ``h``, ``d`` or ``w``: ``36h``, ``30d``, ``4w``."""
Pin = Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}$(?!\n)")]
Level = Literal["error", "warning", "off"]

DEFAULT_STORE: Final = "snapshots/manifestd.db"

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all sections have in common: frozen, by keyword, no unknown keys."""


class StoreSection(_Section, frozen=True, kw_only=True):
    """``[store]``: where snapshots are kept, relative to the configuration file."""

    path: Text = DEFAULT_STORE


class SigningSection(_Section, frozen=True, kw_only=True):
    """``[signing]``: the key that signs what this machine takes; None: unsigned, with a warning."""

    key: Text | None = None


class LogSection(_Section, frozen=True, kw_only=True):
    """``[log]``: the history log's name in checkpoints; None: ``manifestd/<key id>``.

    A name that the organisation owns (``log.example.com/models``) outlives every key.
    """

    origin: Annotated[str, msgspec.Meta(pattern=r"^[^\s+\x00-\x1f]{1,200}\Z")] | None = None


class Defaults(_Section, frozen=True, kw_only=True):
    """``[defaults]``: what holds for every model unless it says otherwise.

    Attributes:
        read: Which bytes a snapshot reads.
        ignore: Globs of files to leave out; recorded in the snapshot.
        sides: Side -> template of a reference, ``{name}`` being the model's. The first
            side is the reference that the others are compared with.
        regions: Algorithm for digests of tensors and of pieces of large files; None: BLAKE3, or
            sha256 on a machine in FIPS mode. Two sides need the same.
    """

    read: ReadMode = "missing"
    regions: Literal["blake3", "sha256"] | None = None
    ignore: list[Text] = []
    sides: dict[str, Text] = {}


class Model(_Section, frozen=True, kw_only=True):
    """``[[model]]``: one model to compare.

    Attributes:
        name: Its name, on the Hub usually.
        sides: Sides that differ from ``defaults.sides``.
        paths: Pairs (path or glob on the reference side, the same on the other sides).
        pinned: Glob -> the one sha256 that its files may have, for this model alone.
    """

    name: Text
    sides: dict[str, Text] = {}
    paths: list[tuple[Text, Text]] = []
    pinned: dict[str, Pin] = {}


class HubSelect(_Section, frozen=True, kw_only=True):
    """Which models of the Hub: all conditions hold, at most ``limit`` of them."""

    author: Text | None = None
    search: Text | None = None
    tags: list[Text] = []
    collection: Text | None = None
    limit: Positive | None = None


class Select(_Section, frozen=True, kw_only=True):
    """``[[select]]``: models that are found rather than listed."""

    hf: HubSelect


class Waiver(_Section, frozen=True, kw_only=True):
    """``[[policy.waiver]]``: one rule, off for one model, by somebody, for a reason, for a time.

    Attributes:
        model: The model's name.
        rule: The policy rule's key.
        path: The file or glob it is about; None: whatever the rule says of the model.
        owner: Who answers for it.
        reason: Why.
        expires: Last moment; a bare date is the end of that day, UTC.
    """

    model: Text
    rule: Rule
    path: Text | None = None
    owner: Text
    reason: Text
    expires: Moment


class Severities(_Section, frozen=True, kw_only=True, omit_defaults=True):
    """``[policy.severity]``: how much a rule's findings weigh; ``off`` does not look.

    Rules that need a setting of their own (``licenses``, ``required``, ``pinned`` …) are only
    asked where it is given, and then their findings are errors unless this table says less.
    """

    licenses: Level = "error"
    license_disagreement: Level | None = None
    license_changed: Level = "error"
    required: Level = "error"
    forbidden: Level = "error"
    min_evidence: Level = "error"
    require_signature: Level = "error"
    max_age: Level = "error"
    pinned: Level = "error"
    secrets: Level = "error"
    security: Level = "warning"


class Policy(_Section, frozen=True, kw_only=True, omit_defaults=True):
    """``[policy]``: what every snapshot must be like. Empty lists demand nothing.

    Attributes:
        min_evidence: The weakest evidence that counts.
        licenses: Licence identifiers that are allowed.
        required: Globs of which each must match a file; ``|`` separates alternatives, and
            ``format:safetensors`` stands for any file of that format.
        forbidden: Globs (and ``format:…``) that no file may match.
        require_signature: A verified signature by a trusted key must be there.
        max_age: How long ago the content may have been looked at: ``36h``, ``30d``, ``4w``.
        pinned: Glob -> the one sha256 that its files may have, in every model.
        severity: What each rule's findings are.
        waiver: Exceptions.
    """

    min_evidence: Grade | None = None
    licenses: list[Text] = []
    required: list[Text] = []
    forbidden: list[Text] = []
    require_signature: bool = False
    max_age: Duration | None = None
    pinned: dict[str, Pin] = {}
    severity: Severities = Severities()
    waiver: list[Waiver] = []


class Quorum(_Section, frozen=True, kw_only=True):
    """``count`` distinct people of ``group``; None: of any."""

    count: Positive
    group: Text | None = None


class TagRule(_Section, frozen=True, kw_only=True):
    """``[[tags]]``: what holds for tags whose ``NAME:TAG`` matches ``pattern``.

    Attributes:
        pattern: Glob over ``NAME:TAG``.
        immutable: Once set, never moved.
        approvals: Quorums that must hold before it moves.
        exclude_author: Who took the snapshot does not count.
        distinct: Somebody in two groups fills one seat, not one of each.
    """

    pattern: Text
    immutable: bool = False
    approvals: list[Quorum] = []
    exclude_author: bool = False
    distinct: bool = True


class Notify(_Section, frozen=True, kw_only=True):
    """``[[notify]]``: whom to tell of which results.

    Attributes:
        url: ``webhook+https://…``, ``exec:///…`` or any Apprise URL; ``${VARIABLE}`` stands for
            a variable of the environment.
        on: Results to tell of.
        secret: What webhooks are signed with: ``${VARIABLE}``, never the secret itself.
        allow_private: Loopback and private addresses may be told, too.
    """

    url: Text
    on: list[Result] = msgspec.field(default_factory=lambda: ["fail", "unknown", "error"])
    secret: Annotated[str, msgspec.Meta(pattern=r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$(?!\n)")] | None = (
        None
    )
    allow_private: bool = False

    def expanded_url(self, environ: Mapping[str, str]) -> str:
        """The URL with its variables filled in; a secret from here on.

        Raises:
            ConfigError: A variable is not set. The message has the name, never the URL.
        """
        return self._expanded(self.url, environ)

    def expanded_secret(self, environ: Mapping[str, str]) -> str | None:
        """The secret itself; None when there is none. Errors as :meth:`expanded_url`."""
        return None if self.secret is None else self._expanded(self.secret, environ)

    @staticmethod
    def _expanded(text: str, environ: Mapping[str, str]) -> str:
        def value(match: re.Match[str]) -> str:
            name = match.group(1)
            if not environ.get(name):
                raise ConfigError(
                    f"it needs the variable {name}, which is not set",
                    hint="set it, or leave it out: run --no-notify tells nobody",
                    facts={"variable": name},
                )
            return environ[name]

        return _VARIABLE.sub(value, text)


class Sections(_Section, frozen=True, kw_only=True):
    """The whole file."""

    store: StoreSection = StoreSection()
    signing: SigningSection = SigningSection()
    log: LogSection = LogSection()
    trust: list[TrustEntry] = []
    defaults: Defaults = Defaults()
    model: list[Model] = []
    select: list[Select] = []
    policy: Policy = Policy()
    tags: list[TagRule] = []
    notify: list[Notify] = []


Kind = Literal["start", "end"]

DAYS: Final[dict[str, Kind]] = {"from": "start", "until": "end", "expires": "end"}
"""Keys that hold moments, and which end of the day a bare date there means."""
