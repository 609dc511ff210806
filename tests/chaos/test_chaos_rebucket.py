"""SIGKILL while the journal is divided into another number of buckets, between kills of everything else."""

import json
from pathlib import Path

from chaos_tools import KILLS, SEED, Chaos, seeded, while_dividing, while_posting, while_publishing

from deepo_beam.emulator.testing import running_emulator


def test_killed_while_it_is_re_bucketed_every_image_is_in_a_table_once_and_paid_for_once(tmp_path: Path) -> None:
    seed = 100 * SEED + 40
    with seeded(seed) as rng, running_emulator(latency=0.1, seed=seed) as service:
        chaos = Chaos(tmp_path, service, rng, ("--rate", "200/s"))
        chaos.make_photos()
        chaos.kill_at(while_posting)
        killed = 0
        for _ in range(3 * KILLS):
            killed += chaos.kill(chaos.divide(rng.choice([1, 2, 3, 7, 30])), while_dividing)
            if rng.random() < 0.3:
                chaos.kill_at(rng.choice([while_posting, while_publishing]))
        assert killed, "it was always quicker"
        _, err = (ended := chaos.divide(4)).communicate(timeout=60)
        assert ended.returncode == 0, err
        assert json.loads((chaos.lake / "dataset.json").read_text())["buckets"] == 4
        chaos.finish()
        chaos.check()
