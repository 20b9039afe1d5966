"""Names that controllers choose: random suffixes and template hashes. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container
from random import Random
from typing import Any

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and nothing that looks like one: no words by accident (apimachinery `util/rand/rand.go`)."""
SUFFIX_LENGTH = 5
MAX_GENERATED_LENGTH = 63
"""A generated name is a DNS label (apiserver `names/generate.go`): a pod's is also its hostname."""
HASH_LENGTH = 10


def generate(base: str, random: Random, taken: Container[str] = ()) -> str:
    """`base` and five random characters, not in `taken`; a long base is cut so that 63 characters are kept."""
    base = base[: MAX_GENERATED_LENGTH - SUFFIX_LENGTH]
    while True:
        name = base + "".join(random.choices(ALPHABET, k=SUFFIX_LENGTH))
        if name not in taken:
            return name


def template_hash(template: Any, collisions: int = 0) -> str:
    """Ten characters that tell pod templates apart: the `pod-template-hash`.

    Equal templates have equal hashes, whatever the order of their keys. collisions: `status.collisionCount`, which
    gives a template another hash where the name it led to was taken by a stranger.
    """
    text = json.dumps([template, collisions], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    number = int.from_bytes(hashlib.sha256(text.encode()).digest())
    characters = []
    for _ in range(HASH_LENGTH):
        number, index = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[index])
    return "".join(characters)
