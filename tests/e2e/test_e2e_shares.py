"""Two worker processes find the quota of a service that allows less than they were told, as one would."""

import json

import pytest
from e2e_tools import finish, process, write_pictures

from deepo_beam.emulator.testing import running_emulator

QUOTA, IMAGES = 40, 800


@pytest.mark.slow
def test_two_processes_share_what_they_learn_of_a_quota(tmp_path):
    write_pictures(tmp_path / "images", IMAGES)
    flags = ["--spec", "echo-v1", "--rate", "100/s", "--buckets", "8", "--json", "--quiet"]
    many = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    with running_emulator(rate=QUOTA, latency=0.1) as service:
        where = [tmp_path / "images", "--output", tmp_path / "out", "--api-url", service.url]
        ended = finish(process("label", *where, *flags, "--", *many), limit_s=180)
        stats = service.stats()
    assert ended.code == 0, ended
    assert ended.summary["succeeded"] + ended.summary["no_detection"] == IMAGES
    cuts = [json.loads(path.read_bytes())["cut"] for path in (tmp_path / "out" / "workers").glob("*.json")]
    told = [cut for cut in cuts if cut is not None]
    assert len(told) == 2, "one of them heard of no refusal"
    assert stats["rejected"]["429"] < 0.1 * IMAGES
    busy = [second for second, accepted in enumerate(stats["accepted_per_second"]) if accepted]
    settled = stats["accepted_per_second"][busy[0] + 10 : busy[-1] - 2]
    assert sum(settled) > 0.7 * QUOTA * len(settled)  # 0.9 and more where nothing else is at work
