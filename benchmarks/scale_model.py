"""How a run grows: objects, requests, bytes, memory and hours as functions of what is labelled. Pure.

The formulas follow the code (named beside each); the constants are those of ``results/growth.json``, a run of
``benchmarks.growth``, and of ``results/scale.json``, which says of each where it was measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deepo_beam.lake.shard import ROWS_PER_SHARD
from deepo_beam.storage.prefixes import AT_ONCE

SECONDS_AN_HOUR = 3600
KEYS_A_LIST = 1000
USED_OF_QUOTA = 0.97  # at least; docs/architecture.md, "Rate"
_CLAIMS, _RENEWED_AT = 500, 0.75  # engine/ledger.py: held at most; renewed when a second's worth, or so much, is left
_FACTS_A_FLUSH, _FACTS_EVERY_S = 5000, 2.0  # engine/ledger.py: at most; or after
_IMAGES_HELD = 16_384  # transforms/group_images.py: gathered before they travel
_BEAT_S = 1.5  # lake/heartbeat.py
_BYTES_A_NAME = 62  # of a segment in the intent of a publish: name, quotes, comma
_IMAGES_A_BUCKET = 4096
_FEWEST, _MOST = 16, 65_536
_FIT = (10_000, 100_000)  # the sizes from which times are extrapolated


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be labelled, and with what.

    Attributes:
        images: distinct ones (>= 1), each with one label.
        rate_per_s: calls that are made, over all processes (> 0).
        processes: that label (>= 1).
        buckets: of the journal (>= 1).
    """

    images: int
    rate_per_s: float
    processes: int
    buckets: int

    @property
    def seconds(self) -> float:
        """While calls are made."""
        return self.images / self.rate_per_s


def buckets_for(images: int) -> int:
    """A power of two with some 4,000 images in each, 16 to 65,536."""
    return min(_MOST, max(_FEWEST, 1 << math.ceil(images / _IMAGES_A_BUCKET - 1).bit_length()))


def journal_objects(work: Work) -> float:
    """Segments: a flush writes one for each bucket it has something of, so each bucket adds one to both kinds."""
    each = work.rate_per_s / work.processes
    held = min(_CLAIMS, max(1.0, 2 * each))
    claims = max(1.0, held - min(each, _RENEWED_AT * held))
    facts = min(_FACTS_A_FLUSH, max(1.0, _FACTS_EVERY_S * each))
    return min(2 * work.images, work.images / claims + work.images / facts + 2 * work.buckets)


def shards(work: Work) -> int:
    """Files of each of the three tables: of whole buckets, a row of ``images`` and one of ``labels`` for each image."""
    together = max(1, math.ceil(ROWS_PER_SHARD * work.buckets / (2 * work.images)) - 1)
    return math.ceil(work.buckets / together)


def requests(work: Work, *, local: bool = False) -> dict[str, float]:
    """Of a first run, by kind; each image is read once, each segment once to count and once to publish.

    Args:
        work: what is done.
        local: on local disk, where a lock tells who holds the output. Elsewhere the launcher beats, too, and each beat
            reads those of all, who holds the output, and whether to stop (``lake/heartbeat.py``, ``holding.py``).
    """
    segments, files = journal_objects(work), 3 * shards(work)
    beating = work.processes if local else work.processes + 1
    beats = beating * work.seconds / _BEAT_S
    return {
        "PUT": segments + work.buckets + files + beats,
        "LIST": work.images / KEYS_A_LIST + 3 * work.buckets + beats,
        "GET": work.images + 2 * segments + 2 * work.buckets + files + (0 if local else beats * (beating + 1)),
    }


class Model:
    """The formulas that have measured constants in them.

    Args:
        growth: what ``benchmarks.growth`` has written.
        constants: of ``results/scale.json``.
    """

    def __init__(self, growth: Mapping[str, Any], constants: Mapping[str, Mapping[str, Any]]) -> None:
        self.sizes: dict[int, Mapping[str, Any]] = {size["images"]: size for size in growth["sizes"]}
        self._value = {name: float(constant["value"]) for name, constant in constants.items()}
        self.process_rate = self._value["images_per_s_of_a_process"]

    def line(self, figure: str) -> tuple[float, float]:
        """(At no image, for each image) of a total that grows by the image, from the two smaller sizes."""
        (few, least), (many, most) = ((size, self.total(figure, size)) for size in _FIT)
        slope = (most - least) / (many - few)
        return least - slope * few, slope

    def total(self, figure: str, images: int) -> float:
        """A measured figure of all images."""
        size = self.sizes[images]
        if figure == "journal bytes":
            return float(size["bytes"]["journal"])
        if figure == "table bytes":
            return float(size["bytes"]["labels"] + size["bytes"]["images"])
        return float(size[figure]) * (images / 1e6 if figure.endswith("_us") else 1.0)

    def extrapolated(self, figure: str, images: int) -> float:
        """The same, by the line."""
        fixed, slope = self.line(figure)
        return fixed + slope * images

    def shuffle_bytes(self, work: Work) -> float:
        """Of all images, between listing and labelling; the more buckets, the fewer of an image's travel together."""
        together = _IMAGES_HELD / work.buckets
        batch = next((size for size in (64, 16, 4) if together >= size), 1)
        return work.images * self._value[f"shuffle_bytes_{batch}"]

    def worker_bytes(self, work: Work) -> float:
        """Of a process that labels or publishes: what nothing at all takes, and what is in hand."""
        labelling = 2 * work.images / work.buckets * self._value["held_bytes"]  # one bucket posts, the next is planned
        publishing = self.shard_image_bytes() * min(work.images, ROWS_PER_SHARD / 2)
        return self.base_bytes + max(labelling, publishing)

    def shard_image_bytes(self) -> float:
        """Of an image while its shard is made: what publishing took beyond labelling, when it was all one shard."""
        size = self.sizes[_FIT[1]]
        return 1e6 * (float(size["published_mb"]) - float(size["labelled_mb"])) / _FIT[1]

    @property
    def base_bytes(self) -> float:
        """Of the process when it labels one image."""
        return 1e6 * float(self.sizes[1]["published_mb"])

    def accounts_bytes(self, work: Work) -> float:
        """Of the one process that checks the accounts."""
        return self.base_bytes + work.images * self._value["accounts_bytes"]

    def intent_bytes(self, work: Work) -> float:
        """Of the one object that names all segments of a publish."""
        return journal_objects(work) * _BYTES_A_NAME

    def listing_s(self, work: Work) -> float:
        """To list an input, which one process does: to name the images, and on S3 to ask for their keys before that."""
        few, many = self.sizes[1], self.sizes[_FIT[1]]
        naming_s = work.images * (float(many["start_cpu_s"]) - float(few["start_cpu_s"])) / (_FIT[1] - 1)
        return max(naming_s, work.images / KEYS_A_LIST * self._value["list_call_s"] / AT_ONCE)

    def processes_for(self, rate_per_s: float) -> int:
        """That can make so many calls of 80 kB."""
        return max(1, math.ceil(rate_per_s / self.process_rate))
