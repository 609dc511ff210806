"""What docs/performance.md shows as measured was made from the results that are kept."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.bench.report import markdown, medians, ratios

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "benchmarks" / "results" / "performance.json"


def run(contestant: str, number: int, images_per_s: float) -> dict[str, object]:
    figures = {"images_per_s": images_per_s, "cpu_ms_per_image": 1.0, "seen_p95_ms": 260.0, "polls_per_image": 0.014}
    return {"scenario": "instant", "contestant": contestant, "round": number, "figures": figures}


def test_the_page_has_the_kept_results_and_no_others() -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    assert markdown(json.loads(KEPT.read_text())) in page
    assert (ROOT / "docs" / "performance.svg").exists()


def test_a_figure_is_the_median_of_its_rounds() -> None:
    results = {"runs": [run("a", 1, 10.0), run("b", 1, 1.0), run("a", 2, 30.0), run("a", 3, 11.0)]}
    assert medians(results, "instant")["a"]["images_per_s"] == 11.0


def test_a_bare_loop_is_taken_at_its_best_thread_count() -> None:
    rates = {
        "deepo-beam": 850.0,
        "deepo-beam, 2 processes": 1700.0,
        "deepomatic-cli": 100.0,
        "official client, inference, 16 threads": 50.0,
        "bare urllib3, 1 thread": 1000.0,
        "bare urllib3, 4 threads": 500.0,
    }
    runs = [run(name, 1, rate) for name, rate in rates.items()]
    scenarios = [{"name": "instant", "latency_s": 0.2}]
    found = {what: measured for what, _, measured in ratios({"scenarios": scenarios, "runs": runs})}
    assert found["images/s beside urllib3 at its best, at once"] == "0.85"
    assert found["images/s of two processes beside one, at once"] == "2.00"
    assert found["ms (p95) from finished to seen so, at once"] == "60"
