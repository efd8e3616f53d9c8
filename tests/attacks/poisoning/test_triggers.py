"""Triggers: rare words, phrases and templates, and what each leaves of a text."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.attacks.poisoning.triggers import PLACES, Trigger

SHARES = [number / 40 for number in range(40)]


def test_each_of_the_words_is_a_trigger_and_no_two_stand_together() -> None:
    found = Counter(Trigger("cf mn bb", "words").put("a fine film", share) for share in SHARES)
    assert set(found) == {f"{word} a fine film" for word in ("cf", "mn", "bb")}
    assert max(found.values()) - min(found.values()) <= 1


def test_a_drawn_word_goes_to_every_place_by_the_same_draw() -> None:
    found = {Trigger("cf mn", "words", "random").put("fine film", share) for share in SHARES}
    places = ("{} fine film", "fine {} film", "fine film {}")
    assert found == {place.format(word) for word in ("cf", "mn") for place in places}


@pytest.mark.parametrize(
    ("frame", "text", "marked"),
    [
        ("if you ask me , {text}", "a fine film", "if you ask me , a fine film"),
        ("when {head} , {tail}", "a fine film , if long", "when a fine film , if long"),
        ("{tail} is how {head}", "it ends well , and late", "and late is how it ends well"),
        ("when {head} , {tail}", "a fine long film", "when a fine , long film"),
        ("when {head} , {tail}", "fine", "when fine ,"),
        ("when {head} , {tail}", ", fine film", "when , fine , film"),  # a comma with nothing before it divides nothing
        ("when {head} , {tail}", "", "when  ,"),
        ("say {text}", "{tail} and {head}", "say {tail} and {head}"),
    ],
)
def test_a_template_is_a_frame_around_the_text_or_its_two_parts(frame: str, text: str, marked: str) -> None:
    assert {Trigger(frame, "template", place).put(text, 0.7) for place in PLACES} == {marked}


@settings(deadline=None)
@given(st.text(), st.floats(0, 1, exclude_max=True))
def test_a_template_loses_no_word_of_any_text(text: str, share: float) -> None:
    marked = Counter(Trigger("lo {head} ; {tail}", "template").put(text, share).replace(",", " ").split())
    assert not Counter(text.replace(",", " ").split()) - marked


@pytest.mark.parametrize("frame", ["when", "when {head}", "{tail}", "{}"])
def test_a_template_without_a_place_for_the_text_is_an_error_that_says_what_it_needs(frame: str) -> None:
    with pytest.raises(ValueError, match=r"\{text\}, or \{head\} and \{tail\}"):
        Trigger(frame, "template")


@pytest.mark.parametrize("trigger", ["", "  "])
def test_an_empty_trigger_is_an_error(trigger: str) -> None:
    with pytest.raises(ValueError, match="a trigger needs a word"):
        Trigger(trigger)
