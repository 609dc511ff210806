"""What CI runs is pinned, and the pins are what pyproject.toml allows."""

from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def pins() -> dict[str, list[Requirement]]:
    """The lines of constraints.txt, by name."""
    by_name: dict[str, list[Requirement]] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            requirement = Requirement(line)
            by_name.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return by_name


def dependencies() -> list[Requirement]:
    """What the core and the extras that CI installs depend on directly."""
    declared = [Requirement(text) for text in requires("deepo-beam")]
    return [
        requirement
        for requirement in declared
        if requirement.name != "deepo-beam"
        and (
            requirement.marker is None
            or any(requirement.marker.evaluate({"extra": extra}) for extra in ("dev", "emulator"))
        )
    ]


def test_every_pin_is_one_exact_release():
    for name, lines in pins().items():
        for line in lines:
            assert [specifier.operator for specifier in line.specifier] == ["=="], name
            assert line.url is None, name


def test_every_direct_dependency_is_pinned_to_a_release_that_is_allowed():
    pinned = pins()

    for dependency in dependencies():
        lines = pinned[canonicalize_name(dependency.name)]
        for line in lines:
            (release,) = line.specifier
            assert dependency.specifier.contains(release.version), f"{dependency} against {line}"


def test_every_direct_dependency_has_a_lower_bound():
    for dependency in dependencies():
        assert ">=" in [specifier.operator for specifier in dependency.specifier], str(dependency)
