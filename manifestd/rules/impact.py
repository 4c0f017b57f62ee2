"""What a change matters for: one table of rules, the first that fits decides.

``docs/reference/impact.md`` prints this table; a test keeps the two the same.
Classes, weakest first: ``none``, ``cosmetic`` (no reader sees it), ``metadata``
(people and tools see it, results do not change), ``behaviour`` (results may
change), ``security`` (other code may run).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from manifestd.model.change import IMPACTS, Change, Impact, TensorDiff, Verdict
from manifestd.model.entry import Role


class Rule(msgspec.Struct, frozen=True):
    """One line of the table.

    Attributes:
        roles: Roles it applies to; empty for all.
        path: Pattern that the file name (last part of the path) must match; empty for all.
        at: Pattern that the change's place must match; empty for all, changes without
            a place (the file as a whole) included.
        impact: The class.
        reason: Why, as the diff shows it.
    """

    roles: tuple[Role, ...]
    path: str
    at: str
    impact: Impact
    reason: str


_INVISIBLE: Final = "(line ends|final newline|trailing white space|byte order mark|front matter)$"
_TEXTS: Final[tuple[Role, ...]] = ("card", "license", "other", "data")
_KEYS: Final[tuple[Role, ...]] = ("config", "tokenizer", "template", "other")

RULES: Final[tuple[Rule, ...]] = (
    Rule((), "", r"pickle globals$", "security", "loading the pickle imports other names"),
    Rule(_KEYS, r".*\.json", r".*/auto_map(/|$)", "security",
         "names Python code that trust_remote_code runs"),
    Rule(_KEYS, r".*\.json", r".*/custom_pipelines(/|$)", "security",
         "names Python code that trust_remote_code runs"),
    Rule(_KEYS, "", r".*/trust_remote_code$", "security", "lets loaders run code of the repository"),
    Rule(_KEYS, r"modules\.json", r"/\d+/type$", "security",
         "names the Python class that is imported"),
    Rule(_KEYS, r"model_index\.json", r"/[^/_][^/]*(/[01])?$", "security",
         "names the Python class that is imported"),
    Rule((), r".*\.(pkl|pickle|joblib|dill)", "", "security", "a pickle can run code when loaded"),
    Rule(("code",), "", "", "security", "code that users of the model may run"),
    Rule(("config", "tokenizer", "card"), "", r"/(transformers_version|_diffusers_version)$",
         "metadata", "names the version that wrote the file"),
    Rule(_KEYS, "", r"/(_name_or_path|name_or_path|_commit_hash)$", "metadata",
         "names where the file came from"),
    Rule(("config",), "", r"(/.*)?/(torch_dtype|dtype)$", "behaviour",
         "weights are loaded with another precision"),
    Rule(("config",), "", r"(/.*)?/(rope_[a-z_]+|max_position_embeddings|sliding_window)(/.*)?$",
         "behaviour", "positions are encoded or limited otherwise"),
    Rule(("config",), "", r"(/.*)?/(vocab_size|(bos|eos|pad|decoder_start)_token_id)(/.*)?$",
         "behaviour", "tokens are read or generation ends otherwise"),
    Rule(("config",), "", r"(/.*)?/quantization_config(/.*)?$", "behaviour",
         "weights are quantised otherwise"),
    Rule(("config",), "", r"(/.*)?/(architectures|model_type)(/.*)?$", "behaviour",
         "another model class is built"),
    Rule(("tokenizer", "config", "template"), "", r"/(chat_template)( .*|/.*)?$", "behaviour",
         "prompts are rendered otherwise"),
    Rule(("template",), "", "", "behaviour", "prompts are rendered otherwise; white space counts"),
    Rule(("tokenizer",), "", r"(/model)?(/vocab|/merges)|vocabulary$|merges$", "behaviour",
         "texts become other token ids"),
    Rule(("tokenizer",), "", "", "behaviour", "texts may become other token ids"),
    Rule(("config",), "", "", "behaviour", "a setting of the model or its generation"),
    Rule(("weights",), r".*\.index\.json", r"/metadata(/|$)", "metadata",
         "informational part of the shard index"),
    Rule(("weights",), r".*\.index\.json", "", "behaviour",
         "tensors are looked for in other shards"),
    Rule(("weights",), "", r"/__metadata__/format$", "behaviour",
         "loaders choose by it how to read the tensors"),
    Rule(("weights",), "", r"/__metadata__/", "metadata", "text beside the tensors"),
    Rule(("weights",), r".*\.gguf",
         r"/general\.(?!architecture$|alignment$|file_type$|quantization_version$)", "metadata",
         "describes the model for people"),
    Rule(("weights",), r".*\.gguf", r"/tokenizer\.chat_template", "behaviour",
         "prompts are rendered otherwise"),
    Rule(("weights",), "", "", "behaviour", "the weights or how they are read may differ"),
    Rule(_TEXTS, "", _INVISIBLE, "cosmetic", "nothing that is read changes"),
    Rule(("card",), "", r"/(license|license_name|license_link)(/.*)?$", "metadata",
         "the licence the card states"),
    Rule(("card",), "", r"/base_model(/.*)?$", "metadata", "the model it says it comes from"),
    Rule(("card",), "", "", "metadata", "documentation"),
    Rule(("license",), "", "", "metadata", "the terms of use"),
    Rule(("data",), "", "", "behaviour", "data that users of the model may read"),
    Rule(("other",), r"\.gitattributes|\.gitignore|.*\.(md|txt|rst|png|jpe?g|gif|svg|webp|pdf|mp4)",
         "", "metadata", "documentation or bookkeeping"),
    Rule(("other",), "", "", "behaviour", "a file whose use is not known"),
)  # fmt: skip


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """A file's class, the reason for it, and its changes with theirs, gravest first."""

    impact: Impact
    reason: str | None = None
    changes: list[Change] = []


def classify(path: str, role: Role, change: Change | None) -> tuple[Impact, str]:
    """Class and reason of one change in a file, or of the file as a whole (None)."""
    name = path.rpartition("/")[2].lower()
    at = change.at if change is not None else ""
    for rule in RULES:
        if rule.roles and role not in rule.roles:
            continue
        if rule.path and not re.fullmatch(rule.path, name):
            continue
        if rule.at and not re.match(rule.at, at):
            continue
        return rule.impact, rule.reason
    return "behaviour", "a file whose use is not known"


def assess(
    path: str,
    role: Role,
    verdict: Verdict,
    *,
    changes: Sequence[Change] = (),
    tensors: TensorDiff | None = None,
    findings: Iterable[dict[str, Any]] = (),
) -> Assessment:
    """Class of a whole file: the gravest of its changes, tensors and new findings.

    Args:
        path: The file.
        role: Its role.
        verdict: How its two sides compare. Identical files matter for nothing, equivalent
            ones are cosmetic, undecided ones have no class.
        changes: What a reader explained; may be empty (bytes only).
        tensors: For weight files: any tensor that is not known to be the same is behaviour.
        findings: What a reader warned of on the right side and not on the left
            (``impact`` and ``what`` of each).
    """
    if verdict in {"identical", "unverifiable"}:
        return Assessment(impact="none")
    if verdict == "equivalent":
        reason = "written differently; no reader sees a difference"
        return Assessment(impact="cosmetic", reason=reason)
    graded = []
    candidates: list[tuple[Impact, str]] = []
    for change in changes:
        impact, reason = classify(path, role, change)
        graded.append(msgspec.structs.replace(change, impact=impact, reason=reason))
        candidates.append((impact, reason))
    if not candidates or (tensors is not None and _touched(tensors)):
        candidates.append(_whole(path, role, verdict))
    for finding in findings:
        what = str(finding.get("what", ""))[:300]
        candidates.extend((known, what) for known in IMPACTS if finding.get("impact") == known)
    impact, reason = max(candidates, key=lambda item: IMPACTS.index(item[0]))
    graded.sort(key=lambda change: -IMPACTS.index(change.impact or "none"))
    return Assessment(impact=impact, reason=reason, changes=graded)


def _whole(path: str, role: Role, verdict: Verdict) -> tuple[Impact, str]:
    impact, reason = classify(path, role, None)
    if verdict == "leftOnly" and impact == "security":
        return "behaviour", "code or a pickle is gone"
    return impact, reason


def _touched(tensors: TensorDiff) -> bool:
    return bool(tensors.changed or tensors.left_only or tensors.right_only or tensors.unknown)


def at_least(impact: Impact, minimum: Impact) -> bool:
    """Whether ``impact`` is as grave as ``minimum``.

    Example:
        >>> at_least("behaviour", "metadata")
        True
    """
    return IMPACTS.index(impact) >= IMPACTS.index(minimum)
