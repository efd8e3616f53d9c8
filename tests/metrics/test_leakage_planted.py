"""Planted data: what a reconstruction spells out, whatever the tokenizer splits it into."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from fedsec.api import Reconstruction
from fedsec.data import clinic_notes
from fedsec.federation.transcript import Secret
from fedsec.metrics.leakage import leakage, match
from fedsec.models import tiny_bert
from fedsec.seeds import SeedTree


@pytest.fixture(scope="module", params=["word pieces", "byte pairs", "byte pairs, words led by a space"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    """Of each kind, over the words of generated notes."""
    if request.param == "word pieces":
        return tiny_bert.load(labels=2, generator=SeedTree(0).torch("m"), layers=1, width=16).tokenizer
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space="led" in request.param)
    plain.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=1500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    plain.train_from_iterator((note.text for note in clinic_notes.generate(300, seed=5)), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=plain)


def _planted(tokenizer: Any, text: str, values: Sequence[str], guess: str, longest: int | None = None) -> Any:
    """pii-recall of a guess in words at a text that is cut after `longest` tokens; None if nothing could count."""
    ids, guessed = (tuple(tokenizer(t, add_special_tokens=False)["input_ids"]) for t in (text, guess))
    secret = Secret((ids[:longest],), (0,), (0,), (tuple(values),))
    scored = match({0: secret}, [Reconstruction(client=0, tokens=guessed, score=0.0)])
    return leakage(scored, tokenizer, np.random.default_rng(0)).get("leakage/pii-recall")


def test_all_planted_data_of_the_generated_notes_can_be_found(tokenizer: Any) -> None:
    """A tokenizer that splits a value otherwise within a note than alone must not make it unfindable."""
    notes = clinic_notes.generate(150)
    tokens = tuple(tuple(tokenizer(n.text, add_special_tokens=False)["input_ids"]) for n in notes)
    planted = tuple(tuple(item.value for item in n.planted) for n in notes)
    secret = Secret(tokens, (0,) * len(notes), (0,) * len(notes), planted)
    guesses = [Reconstruction(client=0, tokens=ids, score=0.0) for ids in tokens]
    measured = leakage(match({0: secret}, guesses), tokenizer, np.random.default_rng(0))["leakage/pii-recall"]
    assert measured.value == 1.0
    assert measured.n == sum(map(len, planted)) > 150
    assert measured.left_out == 0
    # Every note's guess is another note, which holds none of its values.
    secrets = {i: Secret((ids,), (0,), (0,), (planted[i],)) for i, ids in enumerate(tokens)}
    others = [Reconstruction(client=i, tokens=tokens[i - 1], score=0.0) for i in secrets]
    measured = leakage(match(secrets, others), tokenizer, np.random.default_rng(0))["leakage/pii-recall"]
    assert measured.value < 0.01


@pytest.mark.parametrize(
    ("guess", "found"),
    [
        ("Seen: Ann Lee, ann.lee@example.org, 555-0123, 4 May 2031", 4),
        ("seen: ann lee , ann . lee @ example . org , 555 - 0123 , 4 may 2031", 4),
        ("ann lee", 1),
        ("the caller was Ann Lee.", 1),
        ("ann a lee", 0),
        ("lee ann", 0),
        ("joann lee, joann.lee@example.org", 0),
        ("ann leeway", 0),
        ("an n lee", 0),
        ("14 May 2031", 0),
        ("4 May 20311", 0),
        ("555-01234, 1555-0123", 0),
        ("555 0123", 0),
        ("5550123", 0),
        ("", 0),
    ],
)
def test_planted_data_is_compared_as_text_at_the_borders_of_words(guess: str, found: int, tokenizer: Any) -> None:
    values = ["Ann Lee", "ann.lee@example.org", "555-0123", "4 May 2031"]
    measured = _planted(tokenizer, f"Call {', '.join(values)}; thanks.", values, guess)
    assert (measured.value, measured.n, measured.left_out) == (found / 4, 4, 0)


def test_planted_data_that_was_cut_off_is_left_out_and_counted(tokenizer: Any) -> None:
    text, values = "Ann Lee left; call 555-0123", ["Ann Lee", "555-0123"]
    whole = len(tokenizer(text, add_special_tokens=False)["input_ids"])
    measured = _planted(tokenizer, text, values, text, longest=whole - 1)
    assert (measured.value, measured.n, measured.left_out) == (1.0, 1, 1)
    assert measured.as_json()["left_out"] == 1
    assert _planted(tokenizer, text, values[1:], text, longest=whole - 1) is None


def test_planted_data_that_the_vocabulary_cannot_spell_is_left_out() -> None:
    """`Li \u6f22` must not turn into `Li`."""
    tokenizer = tiny_bert.load(labels=2, generator=SeedTree(0).torch("m"), layers=1, width=16).tokenizer
    measured = _planted(tokenizer, "li \u6f22 and li bo", ["Li \u6f22", "Li Bo", "\u6f22"], "li bo")
    assert (measured.value, measured.n, measured.left_out) == (1.0, 1, 2)


def test_planted_data_loses_its_accents_where_the_model_does_not_see_them() -> None:
    tokenizer = tiny_bert.load(labels=2, generator=SeedTree(0).torch("m"), layers=1, width=16).tokenizer
    measured = _planted(tokenizer, "call Zo\u00eb Lee", ["Zo\u00eb Lee"], "zoe lee")
    assert (measured.value, measured.n) == (1.0, 1)
