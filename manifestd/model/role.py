"""Roles: what kind of file a path names. Used for display, impact and policy; never for identity."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from manifestd.model.entry import Role

_SUFFIXES: Final[dict[Role, tuple[str, ...]]] = {
    "weights": (
        ".safetensors", ".gguf", ".ggml", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".onnx_data",
        ".h5", ".keras", ".msgpack", ".tflite", ".pb", ".npz", ".npy", ".pkl", ".pickle",
        ".joblib", ".mlmodel", ".engine", ".llamafile", ".nemo", ".ot",
    ),
    "code": (".py", ".ipynb", ".sh", ".js", ".ts", ".c", ".cc", ".cpp", ".cu", ".rs", ".so"),
    "config": (".json", ".yaml", ".yml", ".toml", ".ini", ".cfg"),
    "data": (".parquet", ".csv", ".tsv", ".jsonl", ".arrow", ".zip", ".tar", ".gz", ".zst"),
    "template": (".jinja", ".jinja2", ".j2"),
    "tokenizer": (".tiktoken",),
}  # fmt: skip
_NAMES: Final[dict[Role, tuple[str, ...]]] = {
    "tokenizer": (
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
        "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model",
        "sentencepiece.bpe.model", "tokenizer.tiktoken", "tekken.json",
    ),
    "template": ("chat_template.json", "chat_template.jinja"),
    "card": ("readme.md", "model_card.md", "modelcard.md", "model-card.md"),
    "config": ("modelfile",),
}  # fmt: skip
_LICENSES: Final = frozenset({
    "license", "licence", "copying", "notice", "use_policy", "usage_policy",
})  # fmt: skip
_BY_SUFFIX: Final = {suffix: role for role, found in _SUFFIXES.items() for suffix in found}
_BY_NAME: Final = {name: role for role, found in _NAMES.items() for name in found}


def role_of(path: str) -> Role:
    """The role of a file by its name alone.

    Example:
        >>> role_of("onnx/model.onnx"), role_of("vocab.txt"), role_of("README.md")
        ('weights', 'tokenizer', 'card')
    """
    return _role_of_name(path[path.rfind("/") + 1 :])


# Most repositories have the same names.
@lru_cache(maxsize=8192)
def _role_of_name(name: str) -> Role:
    name = name.lower()
    named = _BY_NAME.get(name)
    if named is not None:
        return named
    role = _BY_SUFFIX.get(name[name.rfind(".") :], "other")
    if role in {"template", "tokenizer"}:
        return role
    if name.partition(".")[0] in _LICENSES:
        return "license"
    return "weights" if name.endswith(".index.json") else role
