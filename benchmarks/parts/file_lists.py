"""Long lists of files, and what of them changes from one night to the next."""

from __future__ import annotations

import hashlib
import random

Listed = tuple[str, int, str]
"""Path, size, sha256."""

PER_MODEL = 30
FOLDER = "snapshot/weights/file-"


def listing(count: int) -> list[Listed]:
    return [
        (
            f"models/team-{number // 1500:04}/model-{number // PER_MODEL:06}/{FOLDER}{number:08}.bin",
            1000 + number,
            hashlib.sha256(b"%d" % number).hexdigest(),
        )
        for number in range(count)
    ]


def changed(entries: list[Listed], *, models: bool) -> list[Listed]:
    """One in a hundred models with all files changed, or one in a hundred files."""
    choice = random.Random(5)
    if models:
        number = len(entries) // PER_MODEL
        chosen = set(choice.sample(range(number), number // 100))
        hit = {model * PER_MODEL + file for model in chosen for file in range(PER_MODEL)}
    else:
        hit = set(choice.sample(range(len(entries)), len(entries) // 100))
    return [
        (path, size, hashlib.sha256(digest.encode()).hexdigest() if place in hit else digest)
        for place, (path, size, digest) in enumerate(entries)
    ]
