"""The tables and the chart of docs/performance.md, made from a JSON of results.

benchmarks/.venvs/loops/bin/python -m benchmarks.bench.report benchmarks/results/performance.json
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench.contestants import BARE_URLLIB3, OURS_NAME
from benchmarks.bench.environments import ROOT

PAGE = ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "performance.svg"
_MEASURED = re.compile(r"(<!-- measured: made by benchmarks/bench/report.py -->\n).*?(<!-- end -->)", re.DOTALL)

# As which scenarios are known, and the most calls/s for tasks where that is below 0.06 an image.
_POLLED = {"instant": ("at once", None), "slow": ("50 ms", None), "long": ("after 5 s, 200/s", 12)}

Results = Mapping[str, Any]
Medians = dict[str, dict[str, float]]


def medians(results: Results, scenario: str) -> Medians:
    """Of each figure of each contestant of a scenario, over the rounds; in the order in which they ran."""
    runs = [run for run in results["runs"] if run["scenario"] == scenario]
    names = dict.fromkeys(run["contestant"] for run in runs)
    return {name: _median_of([run["figures"] for run in runs if run["contestant"] == name]) for name in names}


def markdown(results: Results) -> str:
    """All tables, with what they were measured on."""
    machine, settings = results["machine"], results["settings"]
    ceiling = statistics.median(results["ceiling_posts_per_s"])
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    rounds = "one round" if settings["rounds"] == 1 else f"medians of {settings['rounds']} rounds"
    parts = [
        f"{machine['cores']} cores ({machine['processor']}), Python {machine['python']}; {versions}."
        f" Measured {results['measured_at'][:10]} at {results['commit']}: {rounds}.\n\n"
        f"The server by itself takes {ceiling:,.0f} posts/s of 100 kB.\n"
    ]
    for scenario in results["scenarios"]:
        found = medians(results, scenario["name"])
        parts.append(f"### {scenario['title']}\n\n{_about(scenario)}\n\n{_table(found)}")
    parts.append(f"### Ratios\n\n{rows_of(('', 'wanted', 'measured'), ratios(results))}")
    return "\n".join(parts)


def ratios(results: Results) -> list[tuple[str, str, str]]:
    """What deepo-beam is held to, beside others of the same run: (what, wanted, measured)."""
    names = [scenario["name"] for scenario in results["scenarios"]]
    found = {name: medians(results, name) for name in names}
    rows: list[tuple[str, str, str]] = []

    def row(scenario: str, what: str, wanted: str, others: Iterable[str], figure: str = "images_per_s") -> None:
        beside = [found[scenario][other][figure] for other in others]
        if beside and OURS_NAME in found[scenario]:
            measured = found[scenario][OURS_NAME][figure] / max(beside)
            rows.append((what, wanted, f"{measured:.2f}"))

    for name, title, times in (("instant", "at once", "at least 5"), ("slow", "50 ms", "at least 3")):
        if name not in found:
            continue
        rival = "deepomatic-cli" if name == "instant" else "official client"
        clients = _named(found[name], "official client")
        row(name, f"images/s beside {rival}, {title}", times, _named(found[name], rival))
        if name == "instant":
            row(name, f"images/s beside the official client at its best, {title}", "above 1", clients)
        row(name, f"images/s beside urllib3 at its best, {title}", "at least 0.85", _named(found[name], BARE_URLLIB3))
    instant = found.get("instant", {})
    best = sorted(_named(instant, BARE_URLLIB3), key=lambda name: instant[name]["images_per_s"])[-1:]
    row("instant", "CPU per image beside that loop, at once", "at most 1.3", best, "cpu_ms_per_image")
    if {OURS_NAME, two_processes := f"{OURS_NAME}, 2 processes"} <= instant.keys():
        gained = instant[two_processes]["images_per_s"] / instant[OURS_NAME]["images_per_s"]
        rows.append(("images/s of two processes beside one, at once", "at least 1.5", f"{gained:.2f}"))
    for scenario in results["scenarios"]:
        for name in _named(found[scenario["name"]], OURS_NAME)[:1] if scenario["name"] in _POLLED else ():
            rows += _polls(found[scenario["name"]][name], 1000 * scenario["latency_s"], *_POLLED[scenario["name"]])
    if OURS_NAME in found.get("start", {}):
        start = found["start"][OURS_NAME]
        rows.append(("seconds to the first post, 10,000 files", "at most 3", f"{start['start_s']:.1f}"))
        rows.append(("CPU seconds to the first post, 10,000 files", "at most 2.5", f"{start['start_cpu_s']:.1f}"))
    return rows


def _polls(
    ours: Mapping[str, float], service_ms: float, title: str, a_second: int | None
) -> list[tuple[str, str, str]]:
    limit, later_ms = max(100.0, 0.1 * service_ms), ours["seen_p95_ms"] - service_ms
    later = (f"ms (p95) from finished to seen so, {title}", f"at most {limit:.0f}", f"{later_ms:.0f}")
    polls = ours["polls_per_image"]
    if a_second is None:
        return [later, (f"polls an image, {title}", "at most 0.06", f"{polls:.3f}")]
    return [later, (f"polls/s, {title}", f"at most {a_second}", f"{polls * ours['images_per_s']:.1f}")]


def chart(results: Results, path: Path) -> None:
    """Images/s of everybody in the first two scenarios, as an SVG."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    mpl.rcParams |= {"svg.hashsalt": "deepo-beam", "svg.fonttype": "none", "font.size": 9}
    shown = results["scenarios"][:2]
    found = [medians(results, scenario["name"]) for scenario in shown]
    figure, panels = plt.subplots(
        len(shown), 1, figsize=(8, 1.2 + 0.3 * sum(map(len, found))), height_ratios=[len(each) for each in found]
    )
    for panel, scenario, each in zip(panels, shown, found, strict=True):
        names = list(each)[::-1]
        rates = [each[name]["images_per_s"] for name in names]
        bars = panel.barh(names, rates, color=["#c2410c" if OURS_NAME in name else "#94a3b8" for name in names])
        panel.bar_label(bars, [f"{rate:,.0f}" for rate in rates], padding=3)
        panel.set_title(f"{scenario['title']}: images/s, first post to end", loc="left")
        panel.spines[["top", "right"]].set_visible(False)
        panel.margins(x=0.1)
    figure.tight_layout()
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Renew the page and its chart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    results = json.loads(parser.parse_args().results.read_text())
    page, replaced = _MEASURED.subn(lambda match: f"{match[1]}{markdown(results)}{match[2]}", PAGE.read_text())
    if not replaced:
        raise SystemExit(f"{PAGE} has no place for what was measured")
    PAGE.write_text(page)
    chart(results, CHART)


def _named(found: Medians, start: str) -> list[str]:
    return [name for name in found if name.startswith(start)]


def _median_of(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each[name] for each in figures) for name in figures[0]}


def _about(scenario: Mapping[str, Any]) -> str:
    return (
        f"{scenario['images']:,} images of {scenario['image_bytes'] / 1000:,.0f} kB ({scenario['distinct']:,} different"
        f" ones); the service takes {1000 * scenario['post_latency_s']:.0f} ms to accept one, and finishes it"
        f" {scenario['latency_s']:g} s later."
    )


def _table(found: Medians) -> str:
    best = max((found[name]["images_per_s"] for name in _named(found, BARE_URLLIB3)), default=None)
    header = ("", "images", "images/s", *(["of urllib3"] if best else []), "CPU ms/image", "peak MB", "polls/image")
    rows = [
        (
            name,
            f"{figures['images']:,.0f}",
            f"{figures['images_per_s']:,.0f}",
            *([f"{figures['images_per_s'] / best:.2f}"] if best else []),
            f"{figures['cpu_ms_per_image']:.2f}",
            f"{figures['peak_mb']:,.0f}",
            f"{figures['polls_per_image']:.3f}",
            f"{figures['seen_p95_ms']:,.0f}",
            f"{figures['start_s']:.1f}",
            f"{figures['start_cpu_s']:.1f}",
        )
        for name, figures in found.items()
    ]
    return rows_of((*header, "p95 ms", "start s", "start CPU s"), rows)


def rows_of(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; all columns but the first are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
