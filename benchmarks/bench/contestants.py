"""Who takes part in what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench.environments import CLI, CLIENT, LOOPS, OURS, Environment
from benchmarks.bench.service import SPEC

OURS_NAME = "deepo-beam"
BARE_URLLIB3 = "bare urllib3"


@dataclass(frozen=True)
class Contestant:
    """A command that labels a folder.

    Attributes:
        name: in the tables; configurations of one thing differ after a comma.
        environment: that it runs in.
        module: run as ``python -m MODULE FOLDER URL ARGUMENTS``; None: it is ``deepo-beam ARGUMENTS``.
        arguments: ``{folder}``, ``{url}`` and ``{output}`` are replaced.
        at_most: a slow one shows its rate with fewer images than the others; None: with as many.
    """

    name: str
    environment: Environment
    module: str | None
    arguments: tuple[str, ...] = ()
    at_most: int | None = None

    @property
    def is_ours(self) -> bool:
        """It leaves an output with a ``_SUCCESS``."""
        return self.module is None

    def command(self, folder: Path, url: str, output: Path) -> list[str]:
        """What to run."""
        python = Path(self.environment.python)
        if self.module is None:
            start = [str(python.with_name("deepo-beam"))]
        else:
            start = [str(python), "-m", self.module, str(folder), url]
        return [*start, *(argument.format(folder=folder, url=url, output=output) for argument in self.arguments)]


@dataclass(frozen=True)
class Scenario:
    """One behaviour of the service with one set of images.

    Attributes:
        name: in the JSON.
        title: in the tables.
        latency_s: from accepted to finished.
        post_latency_s: until a post is accepted.
        images: how many names.
        distinct: how many different files; names beyond are links to them.
        image_bytes: of each.
        contestants: in the order in which they run.
    """

    name: str
    title: str
    images: int
    distinct: int
    contestants: tuple[Contestant, ...]
    latency_s: float = 0.2
    post_latency_s: float = 0.0
    image_bytes: int = 80_000


def scenarios(images: int, large_images: int, slow_images: int) -> tuple[Scenario, ...]:
    """All that is measured.

    Args:
        images: of 80 kB.
        large_images: of 500 kB.
        slow_images: the most for those that need more than 5 ms an image.
    """
    ours, two = _ours(OURS_NAME), _ours(f"{OURS_NAME}, 2 processes", *_TWO_PROCESSES)
    slow = (_cli(slow_images), _client("inference", 16, slow_images), _run_inference(slow_images // 4))
    posting = (_client("post-then-wait", 1), _client("post-then-wait", 16))
    instant = (_bare("requests", 1), _bare("urllib3", 1), _bare("urllib3", 4), _aiohttp(16))
    waiting = (*(_bare("urllib3", threads) for threads in (64, 128, 256)), _aiohttp(256))
    small = {"images": images, "distinct": min(images, 2000)}
    return (
        Scenario("instant", "Accepts at once", contestants=(ours, two, *slow, *posting, *instant), **small),
        Scenario(
            "slow",
            "Takes 50 ms to accept",
            contestants=(ours, *slow, posting[1], _bare("requests", 64), *waiting),
            post_latency_s=0.05,
            **small,
        ),
        Scenario(
            "large",
            "Accepts at once, images of 500 kB",
            images=large_images,
            distinct=min(large_images, 1000),
            contestants=(ours, posting[0], *instant),
            image_bytes=500_000,
        ),
        Scenario(
            "long",
            "Finishes after 5 s, 200 calls/s allowed",
            images=min(images, 3000),
            distinct=min(images, 2000),
            contestants=(_ours(f"{OURS_NAME} --rate 200/s", "--rate", "200/s"),),
            latency_s=5.0,
        ),
        Scenario("start", "10,000 files", images=10_000, distinct=2000, contestants=(ours,)),
    )


_TWO_PROCESSES = ("--", "--direct_running_mode=multi_processing", "--direct_num_workers=2")
_LABEL = ("label", "{folder}", "--output", "{output}", "--spec", SPEC, "--api-url", "{url}", "--json", "--quiet")


def _ours(name: str, *more: str) -> Contestant:
    return Contestant(name, OURS, None, (*_LABEL, *more))


def _cli(at_most: int) -> Contestant:
    return Contestant("deepomatic-cli", CLI, _peer("deepo_cli"), at_most=at_most)


def _run_inference(at_most: int) -> Contestant:
    return Contestant("RunInference", OURS, _peer("run_inference"), at_most=at_most)


def _client(way: str, threads: int, at_most: int | None = None) -> Contestant:
    name = f"official client, {way}, {_threads(threads)}"
    return Contestant(name, CLIENT, _peer("official_client"), ("--way", way, "--threads", str(threads)), at_most)


def _bare(library: str, threads: int) -> Contestant:
    return Contestant(
        f"bare {library}, {_threads(threads)}", LOOPS, _peer(f"bare_{library}"), ("--threads", str(threads))
    )


def _aiohttp(concurrency: int) -> Contestant:
    arguments = ("--concurrency", str(concurrency))
    return Contestant(f"bare aiohttp, {concurrency} at once", LOOPS, _peer("bare_aiohttp"), arguments)


def _peer(name: str) -> str:
    return f"benchmarks.bench.peers.{name}"


def _threads(count: int) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"
