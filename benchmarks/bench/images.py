"""Makes photographs that never were: JPEGs of one size, all distinct, that any decoder takes.

    python -m benchmarks.bench.images FOLDER --count 2000 --bytes 80000

They have to be real, for one of the peers decodes what it sends. A few pictures are drawn; copies are told apart by
the number in their comment, which also fills them up to the size.
"""

from __future__ import annotations

import argparse
import io
import math
from pathlib import Path

import numpy as np
from PIL import Image

_PICTURES = 8
_QUALITY = 85
_GRAIN = 9.0  # standard deviation of the noise: as much detail as a hand-held photograph has
_BYTES_PER_PIXEL = 0.30  # a little more than comes of the two, so that there is something to fill
_NUMBER_BYTES = 12


def picture(seed: int, size_bytes: int) -> bytes:
    """A 4:3 JPEG of somewhat less than ``size_bytes``."""
    noise = np.random.default_rng(seed)
    height = 8 * round(math.sqrt(size_bytes / _BYTES_PER_PIXEL * 3 / 4) / 8)
    width = 8 * round(height / 6)
    clouds = Image.fromarray(noise.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    grain = noise.normal(0.0, _GRAIN, (height, width, 1))
    drawn = Image.fromarray(np.clip(np.asarray(clouds) + grain, 0, 255).astype(np.uint8))
    drawn.save(file := io.BytesIO(), "JPEG", quality=_QUALITY)
    return file.getvalue()


def numbered(jpeg: bytes, number: int, size_bytes: int) -> bytes:
    """The same picture with a comment, so that it has ``size_bytes``.

    Raises:
        ValueError: there is no room for a comment of that length.
    """
    comment = size_bytes - len(jpeg) - 4
    if not _NUMBER_BYTES <= comment < 65_534:
        raise ValueError(f"a comment of {comment} bytes")
    text = b"%0*d" % (_NUMBER_BYTES, number)
    return jpeg[:2] + b"\xff\xfe" + (comment + 2).to_bytes(2, "big") + text.ljust(comment) + jpeg[2:]


def main() -> None:
    """Make a folder of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--bytes", type=int, required=True)
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    pictures = [picture(seed, options.bytes) for seed in range(_PICTURES)]
    for number in range(options.count):
        file = numbered(pictures[number % _PICTURES], number, options.bytes)
        (options.folder / f"{number:06d}.jpg").write_bytes(file)


if __name__ == "__main__":
    main()
