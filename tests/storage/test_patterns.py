"""The grammar of globs."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepo_beam.errors import ConfigError
from deepo_beam.storage.patterns import glob_to_regex, has_magic, literal_start


def matches(pattern: str, name: str) -> bool:
    return re.compile(glob_to_regex(pattern), re.DOTALL).fullmatch(name) is not None


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*.jpg", ["a.jpg", ".jpg", "a b#%é.jpg", "a\n.jpg"], ["a/b.jpg", "a.jpgx", "ajpg"]),
        ("**.jpg", ["a.jpg", "a/b.jpg", "a/b/c.jpg"], ["a.png"]),
        ("p/**/a.jpg", ["p/a.jpg", "p/x/a.jpg", "p/x/y/a.jpg"], ["pa.jpg", "p/xa.jpg"]),
        ("**/a.jpg", ["a.jpg", "x/a.jpg"], ["xa.jpg"]),
        ("p/**", ["p/a", "p/a/b", "p/"], ["p", "q/a"]),
        ("a?c", ["abc", "a.c"], ["ac", "a/c", "abbc"]),
        ("[a-c].x", ["a.x", "c.x"], ["d.x", "-.x", "aa.x"]),
        ("[!a-c].x", ["d.x"], ["a.x", "/.x"]),
        ("[^a]", ["b"], ["a", "/"]),
        ("[]a]", ["]", "a"], ["[", "b"]),
        ("[a-]", ["a", "-"], ["b"]),
        ("[+--]", [",", "+", "-"], ["."]),
        (r"[\d&&]", ["\\", "d", "&"], ["1"]),
        ("[a", ["[a"], ["a"]),
        ("{a,b}.jpg", ["a.jpg", "b.jpg"], ["c.jpg", "{a,b}.jpg"]),
        ("{a,b{c,d*}}", ["a", "bc", "bdx/"[:-1]], ["b", "c"]),
        ("x{,y}", ["x", "xy"], ["y"]),
        ("{a}", ["{a}"], ["a"]),
        ("{a,b", ["{a,b"], ["a"]),
        ("a}b,c", ["a}b,c"], []),
        ("a.b+c(d)|e$", ["a.b+c(d)|e$"], ["aXb+c(d)|e$"]),
    ],
)
def test_the_grammar_is_as_documented(pattern: str, yes: list[str], no: list[str]) -> None:
    assert [name for name in yes if not matches(pattern, name)] == []
    assert [name for name in no if matches(pattern, name)] == []


def test_a_range_the_wrong_way_round_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="'z-a'"):
        glob_to_regex("x[z-a]")


@pytest.mark.parametrize(
    ("pattern", "start"),
    [("a/b*c", "a/b"), ("a{b}[c", "a{b}[c"), ("a{b,c}", "a"), ("a?b", "a"), ("a[b]", "a"), ("", "")],
)
def test_the_literal_start_ends_at_the_first_wildcard(pattern: str, start: str) -> None:
    assert literal_start(pattern) == start
    assert has_magic(pattern) == (start != pattern)


@given(st.text("ab/*?[]{},!^-\\.", max_size=12))
def test_every_pattern_compiles_or_is_refused_and_without_wildcards_matches_itself_alone(pattern: str) -> None:
    try:
        regex = re.compile(glob_to_regex(pattern), re.DOTALL)
    except ConfigError:
        return
    if not has_magic(pattern):
        assert regex.fullmatch(pattern)
        assert not regex.fullmatch(pattern + "x")


@given(st.lists(st.text("ab.", min_size=1, max_size=3), min_size=1, max_size=4))
def test_two_stars_match_whatever_one_star_a_folder_does(names: list[str]) -> None:
    path = "/".join(names)
    assert matches("/".join("*" * len(names)), path)
    assert matches("**", path)
    assert matches("*", path) == (len(names) == 1)
