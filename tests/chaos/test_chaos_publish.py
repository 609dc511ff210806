"""SIGKILL while the tables are written, several times in a row; and a service that is sick beside."""

from pathlib import Path

from chaos_tools import KILLS, SEED, Chaos, seeded, while_posting, while_publishing

from deepo_beam.emulator.testing import running_emulator


def test_killed_in_publish_after_publish_each_row_is_there_once(tmp_path: Path) -> None:
    seed = 100 * SEED + 10
    with seeded(seed) as rng, running_emulator(latency=0.1, seed=seed) as service:
        chaos = Chaos(tmp_path, service, rng, ("--max-calls", "80"))
        chaos.make_photos()
        killed = sum(chaos.kill_at(while_publishing) for _ in range(KILLS + 1))
        assert killed, "it was always quicker"
        chaos.flags = ()
        chaos.finish()
        chaos.check()


def test_kills_and_a_sick_service_together_leave_every_image_in_a_table_and_every_call_told(tmp_path: Path) -> None:
    seed = 100 * SEED + 20
    faults = {"fail_posts": 0.05, "cut_replies": 0.02, "task_errors": 0.02, "lose_tasks": 0.02, "fail_polls": 0.05}
    with seeded(seed) as rng, running_emulator(latency=0.1, seed=seed, **faults) as service:
        chaos = Chaos(tmp_path, service, rng, ("--rate", "150/s"))
        chaos.make_photos()
        for _ in range(KILLS):
            chaos.kill_at(rng.choice([while_posting, while_publishing]))
        chaos.finish()
        chaos.check(failures=True)
