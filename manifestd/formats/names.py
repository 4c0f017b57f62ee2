"""Which reader a file name belongs to: one table, read without importing any reader."""

from __future__ import annotations

from typing import Final

_CARDS: Final = frozenset({"readme.md", "model_card.md", "modelcard.md", "model-card.md"})
_TEXT_NAMES: Final = frozenset({
    "vocab.txt", "merges.txt", "modelfile", ".gitattributes", ".gitignore", "dockerfile", "makefile",
})  # fmt: skip
# Where secrets are found that were never to be published: unless they are kept, nobody looks.
_SECRET_NAMES: Final = frozenset({
    ".env", ".netrc", ".git-credentials", ".npmrc", ".pypirc", "credentials",
    "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519",
})  # fmt: skip
_SECRET_SUFFIXES: Final = (".env", ".pem", ".key", ".conf", ".properties")
_TEXT_STEMS: Final = frozenset({
    "license", "licence", "copying", "notice", "use_policy", "usage_policy", "readme", "authors",
})  # fmt: skip
_TEXT_SUFFIXES: Final = (
    ".txt", ".md", ".rst", ".jinja", ".jinja2", ".j2", ".py", ".sh", ".js", ".ts", ".c", ".cc",
    ".cpp", ".cu", ".rs", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".ipynb",
    ".sig",
)  # fmt: skip
_PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".th", ".dill")

NEXT: Final[dict[str, tuple[str, bytes, int]]] = {
    ".onnx": ("ONNX model", b"", 0),
    ".onnx_data": ("ONNX external data", b"", 0),
    ".onnx.data": ("ONNX external data", b"", 0),
    ".pb": ("TensorFlow graph", b"", 0),
    ".tflite": ("TensorFlow Lite model", b"TFL3", 4),
    ".h5": ("HDF5 weights", b"\x89HDF\r\n\x1a\n", 0),
    ".hdf5": ("HDF5 weights", b"\x89HDF\r\n\x1a\n", 0),
    ".keras": ("Keras archive", b"PK\x03\x04", 0),
    ".msgpack": ("Flax MessagePack", b"", 0),
    ".npz": ("NumPy archive", b"PK\x03\x04", 0),
    ".npy": ("NumPy array", b"\x93NUMPY", 0),
    ".ot": ("tch-rs archive", b"PK\x03\x04", 0),
    ".mlmodel": ("Core ML model", b"", 0),
    ".engine": ("TensorRT engine", b"", 0),
    ".model": ("SentencePiece model", b"", 0),
    ".tiktoken": ("tiktoken ranks", b"", 0),
    ".nemo": ("NeMo archive", b"", 0),
    ".llamafile": ("llamafile executable", b"", 0),
    ".ggml": ("legacy GGML model", b"", 0),
    ".parquet": ("Parquet table", b"PAR1", 0),
    ".arrow": ("Arrow file", b"ARROW1", 0),
}
"""The next readers to write: suffix -> kind, magic bytes, their offset (no magic: by name only)."""

BODY: Final = 16 * 1024 * 1024
"""Bytes up to which a text body is kept in the store, so that later diffs can explain it."""
TOKENIZER_BODY: Final = 64 * 1024 * 1024
"""The same for ``tokenizer.json``: those of 200,000 tokens and more take 17 to 35 MB."""


def body_limit(path: str) -> int:
    """Bytes up to which the body of a file of this name is kept.

    Example:
        >>> body_limit("a/tokenizer.json") > body_limit("a/config.json")
        True
    """
    return TOKENIZER_BODY if path.rpartition("/")[2] == "tokenizer.json" else BODY


def reader_name(path: str) -> str | None:
    """The reader of the ``formats`` family for a file name; None when there is none.

    Example:
        >>> reader_name("a/model.safetensors.index.json"), reader_name("a/logo.png")
        ('shardindex', None)
    """
    name = path.rpartition("/")[2].lower()
    if name.endswith(".index.json"):
        return "shardindex"
    if name.endswith(".json"):
        return "json"
    if name in _CARDS:
        return "card"
    if name.endswith(".safetensors"):
        return "safetensors"
    if name.endswith(".gguf"):
        return "gguf"
    if name.endswith(_PICKLES):
        # SentencePiece ships as .bin under one name only; it is no pickle.
        return "named" if name.startswith("sentencepiece") else "torchzip"
    if next_kind(name) is not None:
        return "named"
    if name in _TEXT_NAMES or name.endswith(_TEXT_SUFFIXES) or name.split(".")[0] in _TEXT_STEMS:
        return "text"
    if name in _SECRET_NAMES or name.endswith(_SECRET_SUFFIXES) or name.startswith(".env."):
        return "text"
    return None


def next_kind(path: str) -> tuple[str, bytes, int] | None:
    """Kind, magic and offset of a file whose reader is still to be written; None if not listed."""
    name = path.rpartition("/")[2].lower()
    for suffix, entry in NEXT.items():
        if name.endswith(suffix):
            return entry
    if name.startswith("sentencepiece") and name.endswith(".bin"):
        return NEXT[".model"]
    return None
