"""What compressing each array of a cache leaves of it, and what it costs beside the checksums.

    python -m benchmarks.packing cache/NAME [--rows 128] [--videos 4]

Takes the first rows of the first videos of every artifact that stages wrote shard by shard, packs them chunk by chunk as
``run.compress`` does (Zstandard, level 1, with its checksum), and unpacks them. One thread.
"""

import argparse
import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numcodecs import zstd

from benchmarks.machine import machine
from pipeline.artifacts.layout import LEVEL


def chunks_by_array(cache: Path, videos: int, rows: int) -> dict[tuple[str, str], list[np.ndarray[Any, Any]]]:
    """Return chunks of the first rows of every array, by the stage that wrote it and its name."""
    found: dict[tuple[str, str], list[np.ndarray[Any, Any]]] = defaultdict(list)
    seen: dict[tuple[str, str], int] = defaultdict(int)
    for metadata in sorted(cache.glob("*/data/*/*/zarr.json")):
        key = metadata.parents[3].name.rpartition("-")[0], metadata.parent.name
        seen[key] += 1
        if seen[key] <= videos:
            array = zarr.open_array(metadata.parent, mode="r")
            first_rows = np.asarray(array[:rows])
            found[key].extend(first_rows[at : at + array.chunks[0]] for at in range(0, len(first_rows), array.chunks[0]))
    return found


def timed(work: Callable[[Any], Any], items: Iterable[Any]) -> tuple[list[Any], float]:
    """Return results and milliseconds for each."""
    start = time.perf_counter()
    done = [work(item) for item in items]
    return done, 1000 * (time.perf_counter() - start) / len(done)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path, help="folder of a dataset in the cache")
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--videos", type=int, default=4)
    arguments = parser.parse_args()
    found = chunks_by_array(arguments.cache, arguments.videos, arguments.rows)
    if not found:
        parser.error(f"{arguments.cache}: expected the folder of a dataset in the cache, found no arrays there")
    codec = zstd.Zstd(level=LEVEL, checksum=True)
    print(f"{machine()}\n")
    print("| array | bytes a chunk | left | ms to pack | ms to unpack | BLAKE2b of what is left | CRC32C of all |")
    print("|---|---|---|---|---|---|---|")
    for (stage, name), chunks in found.items():
        chunks = [np.ascontiguousarray(chunk) for chunk in chunks]
        packed, packing = timed(codec.encode, chunks)
        _, unpacking = timed(codec.decode, packed)
        _, blake = timed(lambda data: hashlib.blake2b(data, digest_size=16).digest(), packed)
        _, crc = timed(google_crc32c.value, [chunk.tobytes() for chunk in chunks])
        left = sum(map(len, packed)) / sum(chunk.nbytes for chunk in chunks)
        times = " | ".join(f"{milliseconds:.3f}" for milliseconds in (packing, unpacking, blake, crc))
        print(f"| {stage} {name} | {chunks[0].nbytes:,} | {left:.2f} | {times} |")


if __name__ == "__main__":
    main()
