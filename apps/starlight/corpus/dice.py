"""Chance that can be repeated: everything the corpus draws comes from a Dice named by a text.

A Dice of the same name throws the same numbers on every machine and whatever was thrown before by another one, so an
image depends on the seed, the split and its own number alone, never on how many processes build the corpus.
"""
import hashlib
import random

import numpy as np


class Dice(random.Random):
    """random.Random seeded by a text, with numpy's generator of the same seed as .array."""

    def __init__(self, name):
        super().__init__(name)
        digest = hashlib.sha256(name.encode()).digest()
        self.array = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))

    def chance(self, probability):
        return self.random() < probability

    def pick(self, weights):
        """A key of {key: weight}."""
        return self.choices(list(weights), list(weights.values()))[0]

    def log_between(self, low, high):
        """An integer from low to high, small ones as likely as large ones on a logarithmic scale."""
        return min(high, int(low * (high / low) ** self.random() + 0.5))

    def block(self, n):
        """n random bytes."""
        return self.array.bytes(n)


def hash_share(text):
    """A number in [0, 1) that depends on the text alone; for splits."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2.0 ** 64
