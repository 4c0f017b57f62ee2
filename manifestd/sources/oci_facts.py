"""What an artifact says of the model: ModelPack's config, the Kitfile, annotations.

Kept flat and bounded, under dotted names. None of it is checked by anybody; it is
what the packer wrote.
"""

from __future__ import annotations

from typing import Any, Final

from manifestd import canonical
from manifestd.errors import MalformedError
from manifestd.model.snapshot import SourceFacts
from manifestd.redact import redact
from manifestd.sources.oci_manifest import Manifest

KITFILE: Final = "ml.kitops.modelkit.kitfile"
_MAX_TEXT: Final = 300
_MAX_FACTS: Final = 100
_MAX_ITEMS: Final = 20
_MAX_KITFILE: Final = 1024 * 1024
_SKIPPED: Final = frozenset({"diffIds", "digest", "diffId", "createdAt"})


def facts_of(manifest: Manifest, config: Any) -> SourceFacts:
    """Facts of one artifact: types, ``modelpack.…`` and ``kitfile.…``, and its ``license``.

    Args:
        manifest: The artifact's.
        config: Its config document, if it was read.
    """
    found: SourceFacts = {}
    _keep(found, "artifactType", manifest.artifact_type)
    _keep(found, "configType", manifest.config.media_type if manifest.config else None)
    kind = str(found.get("configType", ""))
    if ".model.config." in kind and isinstance(config, dict):
        _flatten(found, "modelpack", config)
    elif ".modelkit.config." in kind and isinstance(config, dict):
        _flatten(found, "kitfile", config)
    kitfile = (manifest.annotations or {}).get(KITFILE)
    if kitfile:
        try:
            document = canonical.decode_foreign(
                kitfile.encode(), name="the Kitfile", max_size=_MAX_KITFILE
            )
        except (MalformedError, UnicodeEncodeError):
            document = None
        _flatten(found, "kitfile", document)
    for name in ("modelpack.descriptor.licenses", "kitfile.package.license", "kitfile.model.license"):  # fmt: skip
        value = found.get(name)
        if value:
            single = isinstance(value, list) and len(value) == 1
            found["license"] = value[0] if isinstance(value, list) and single else value
            break
    return found


def elsewhere(manifest: Manifest, config: Any) -> str | None:
    """Of a ModelKit without weights of its own, the kit that its Kitfile takes them from."""
    model = config.get("model") if isinstance(config, dict) else None
    path = model.get("path") if isinstance(model, dict) else None
    own = any(".modelkit.model." in item.media_type for item in manifest.layers or ())
    return path if isinstance(path, str) and path and not own else None


def _flatten(found: SourceFacts, prefix: str, value: Any, depth: int = 0) -> None:
    if isinstance(value, dict) and depth < 4:
        for name, member in value.items():
            if name not in _SKIPPED and name.isascii():
                _flatten(found, f"{prefix}.{name[:80]}", member, depth + 1)
    elif isinstance(value, list):
        texts = [redact(item)[:_MAX_TEXT] for item in value[:_MAX_ITEMS] if isinstance(item, str)]
        if texts:
            _keep(found, prefix, texts)
        for number, item in enumerate(value[:_MAX_ITEMS]):
            if isinstance(item, dict):
                _flatten(found, f"{prefix}.{number}", item, depth + 1)
    elif isinstance(value, float):
        _keep(found, prefix, str(value))
    else:
        _keep(found, prefix, value)


def _keep(found: SourceFacts, name: str, value: Any) -> None:
    if len(found) >= _MAX_FACTS or value is None or value == "":
        return
    if isinstance(value, str):
        # Lone surrogates have no canonical form.
        found[name] = redact(value)[:_MAX_TEXT].encode("utf-8", "replace").decode()
    elif isinstance(value, bool | list) or (isinstance(value, int) and abs(value) < 2**53):
        found[name] = value
