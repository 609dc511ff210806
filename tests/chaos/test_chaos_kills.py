"""SIGKILL at random moments of labelling and publishing; the same command again, until it is done."""

from pathlib import Path

import pytest
from chaos_tools import KILLS, SEED, Chaos, any_time, seeded, while_posting, while_publishing

from deepo_beam.emulator.testing import running_emulator


@pytest.mark.parametrize(
    ("lane", "latency", "flags"),
    [(0, 0.0, ("--rate", "150/s")), (1, 0.3, ("--rate", "100/s")), (2, 1.5, ())],
)
def test_killed_while_it_posts_or_publishes_it_finishes_with_every_image_once(
    tmp_path: Path, lane: int, latency: float, flags: tuple[str, ...]
) -> None:
    seed = 100 * SEED + lane
    with seeded(seed) as rng, running_emulator(latency=latency, seed=seed) as service:
        chaos = Chaos(tmp_path, service, rng, flags)
        chaos.make_photos()
        for _ in range(KILLS):
            chaos.kill_at(rng.choice([while_posting, while_posting, any_time, while_publishing]))
        chaos.finish()
        chaos.check()
