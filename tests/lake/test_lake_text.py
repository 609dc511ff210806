from hypothesis import given
from hypothesis import strategies as st

from deepo_beam.text import clean_text, cut_middle

any_text = st.text(st.characters())


@given(any_text)
def test_clean_text_can_be_encoded_and_is_cleaned_once_for_all(text: str) -> None:
    cleaned = clean_text(text)
    assert cleaned.encode().decode() == cleaned
    assert clean_text(cleaned) == cleaned
    assert len(cleaned) == len(text)


@given(st.text())
def test_text_without_surrogates_stays_as_it_is(text: str) -> None:
    assert clean_text(text) == text


@given(any_text, st.integers(0, 20))
def test_a_cut_keeps_the_start(text: str, max_chars: int) -> None:
    assert clean_text(text, max_chars=max_chars) == clean_text(text)[:max_chars]


def test_each_surrogate_becomes_one_replacement_character() -> None:
    assert clean_text("caf\udce9 \ud800\x00é") == "caf\ufffd \ufffd\x00é"


@given(st.text(), st.integers(5, 60))
def test_text_cut_in_its_middle_keeps_both_ends_and_the_limit(text: str, limit: int) -> None:
    cut = cut_middle(text, limit)
    assert len(cut) <= limit
    if len(text) <= limit:
        assert cut == clean_text(text)
    else:
        tail = (limit - 5) // 3
        assert cut[: limit - 5 - tail] == clean_text(text)[: limit - 5 - tail]
        assert cut[limit - tail :] == clean_text(text)[len(text) - tail :]


def test_a_message_that_names_something_long_still_says_what_is_wrong_with_it() -> None:
    assert cut_middle(f"/{'a' * 5000}: no permission", 100).endswith("aaa: no permission")
