"""Roles: what kind of file a path names. Used for display, impact and policy; never for identity."""

from __future__ import annotations

from typing import Final

from manifestd.model.entry import Role

_WEIGHT_SUFFIXES: Final = (
    ".safetensors", ".gguf", ".ggml", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".onnx_data",
    ".h5", ".keras", ".msgpack", ".tflite", ".pb", ".npz", ".npy", ".pkl", ".pickle", ".joblib",
    ".mlmodel", ".engine", ".llamafile", ".nemo", ".ot",
)  # fmt: skip
_CODE_SUFFIXES: Final = (
    ".py",
    ".ipynb",
    ".sh",
    ".js",
    ".ts",
    ".c",
    ".cc",
    ".cpp",
    ".cu",
    ".rs",
    ".so",
)
_DATA_SUFFIXES: Final = (
    ".parquet",
    ".csv",
    ".tsv",
    ".jsonl",
    ".arrow",
    ".zip",
    ".tar",
    ".gz",
    ".zst",
)
_TOKENIZER_NAMES: Final = frozenset({
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model",
    "sentencepiece.bpe.model", "tokenizer.tiktoken", "tekken.json",
})  # fmt: skip
_TEMPLATE_NAMES: Final = frozenset({"chat_template.json", "chat_template.jinja"})


def role_of(path: str) -> Role:
    """The role of a file by its name alone.

    Example:
        >>> role_of("onnx/model.onnx"), role_of("vocab.txt"), role_of("README.md")
        ('weights', 'tokenizer', 'card')
    """
    name = path.rpartition("/")[2].lower()
    if name in _TEMPLATE_NAMES or name.endswith((".jinja", ".jinja2", ".j2")):
        return "template"
    if name in _TOKENIZER_NAMES or name.endswith(".tiktoken"):
        return "tokenizer"
    if name in {"readme.md", "model_card.md", "modelcard.md", "model-card.md"}:
        return "card"
    if name.split(".")[0] in {
        "license",
        "licence",
        "copying",
        "notice",
        "use_policy",
        "usage_policy",
    }:
        return "license"
    if name.endswith(".index.json"):
        return "weights"
    if name.endswith(_WEIGHT_SUFFIXES):
        return "weights"
    if name.endswith(_CODE_SUFFIXES):
        return "code"
    if name.endswith((".json", ".yaml", ".yml", ".toml", ".ini", ".cfg")) or name == "modelfile":
        return "config"
    if name.endswith(_DATA_SUFFIXES):
        return "data"
    return "other"
