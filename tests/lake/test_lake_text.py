from hypothesis import given
from hypothesis import strategies as st

from deepo_beam.text import clean_text

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
