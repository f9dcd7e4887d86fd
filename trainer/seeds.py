"""Random numbers by name: each use has a stream of its own, so that one use more never shifts another."""

import zlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Seed:
    """A seed and the path of names below which its streams lie."""

    value: int
    path: tuple[str, ...] = ()

    def child(self, name: str) -> "Seed":
        """Return the seed of one part, such as an autoencoder."""
        return Seed(self.value, (*self.path, name))

    def generator(self, name: str, index: int = 0) -> np.random.Generator:
        """Return the generator of one stream; the same arguments give the same numbers, on any machine."""
        words = [zlib.crc32(part.encode()) for part in (*self.path, name)]
        return np.random.default_rng([self.value, index, *words])

    def number(self, name: str) -> int:
        """Return one number below 2**31, for generators that are not NumPy's."""
        return int(self.generator(name).integers(2**31))
