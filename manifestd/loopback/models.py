"""Small models of true format, made from nothing: the same bytes every time."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any, Final

_CONFIG: Final[dict[str, Any]] = {
    "architectures": ["GPT2LMHeadModel"],
    "bos_token_id": 50256,
    "eos_token_id": 50256,
    "model_type": "gpt2",
    "n_embd": 64,
    "n_head": 4,
    "n_layer": 2,
    "torch_dtype": "float16",
    "transformers_version": "4.57.1",
    "vocab_size": 512,
}


def safetensors(tensors: dict[str, tuple[str, list[int], bytes]], **metadata: str) -> bytes:
    """A safetensors file of (dtype, shape, bytes) by name, written in the order given.

    Layout: u64 little-endian header length, JSON header padded with spaces to 8
    bytes, then the tensors without a gap (safetensors README, "Format").
    """
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for name, (dtype, shape, data) in tensors.items():
        end = offset + len(data)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values())


def pseudo_random(name: str, length: int) -> bytes:
    """``length`` bytes that depend on ``name`` only."""
    return hashlib.shake_128(name.encode()).digest(length)


def tiny_tensors(name: str, layers: int = 2, width: int = 64) -> dict[str, Any]:
    """Tensors of a very small GPT-2, in float16."""
    shapes = {"wte.weight": [512, width]}
    for layer in range(layers):
        shapes[f"h.{layer}.attn.c_attn.weight"] = [width, 3 * width]
        shapes[f"h.{layer}.attn.c_attn.bias"] = [3 * width]
        shapes[f"h.{layer}.mlp.c_fc.weight"] = [width, 4 * width]
    return {
        tensor: ("F16", shape, pseudo_random(f"{name}/{tensor}", 2 * _count(shape)))
        for tensor, shape in shapes.items()
    }


def tiny_model(name: str = "acme/tiny", **config: Any) -> dict[str, bytes]:
    """The files of one small model repository: weights, config, tokenizer, card, licence.

    Args:
        name: Model name; the weights depend on it.
        config: Keys of ``config.json`` to set otherwise.
    """
    vocabulary = {f"t{number}": number for number in range(64)} | {"<|endoftext|>": 64}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [{"id": 64, "content": "<|endoftext|>", "special": True}],
        "model": {"type": "BPE", "vocab": vocabulary, "merges": ["t1 t2", "t3 t4"]},
    }
    card = (
        f"---\nlicense: mit\npipeline_tag: text-generation\n---\n\n# {name}\n\n"
        "A model too small to be of use, in the formats of a real one.\n"
    )
    return {
        ".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n",
        "README.md": card.encode(),
        "LICENSE": b"MIT License\n\nCopyright (c) the model's authors\n",
        "config.json": _json(_CONFIG | config),
        "generation_config.json": _json({"eos_token_id": 50256, "do_sample": True, "top_k": 50}),
        "model.safetensors": safetensors(tiny_tensors(name), format="pt"),
        "tokenizer.json": _json(tokenizer),
        "tokenizer_config.json": _json(
            {"model_max_length": 1024, "tokenizer_class": "GPT2Tokenizer"}
        ),
        "onnx/config.json": _json({"opset": 17}),
    }


def drifted(files: dict[str, bytes]) -> dict[str, bytes]:
    """The same model after a bad day: a changed config, one flipped weight byte, one file gone."""
    config = json.loads(files["config.json"]) | {"torch_dtype": "bfloat16"}
    weights = bytearray(files["model.safetensors"])
    weights[-1000] ^= 0x01
    changed = {**files, "config.json": _json(config), "model.safetensors": bytes(weights)}
    del changed["generation_config.json"]
    return changed


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def _count(shape: list[int]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count
