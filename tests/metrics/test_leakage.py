"""Leakage: matching, claims, planted data and overlaps, against brute force and hand-computed values."""

from collections import Counter
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.api import BetterFor, MetricValue, Reconstruction
from fedsec.federation.transcript import Secret
from fedsec.metrics.leakage import Scored, leakage, match
from fedsec.models import tiny_bert
from fedsec.seeds import SeedTree

Tokens = tuple[int, ...]
WORDS = ("the", "cat", "sat", "on", "a", "mat", "dog", "ran", "far", "away", "today", "now")


class WordTokenizer:
    """A word for each id."""

    all_special_ids = (0,)

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        return " ".join(WORDS[i] for i in ids)

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [WORDS.index(word) for word in text.split()]}


def _ids(text: str) -> Tokens:
    return tuple(WORDS.index(word) for word in text.split())


def _secret(*texts: str, planted: Sequence[Sequence[str]] | None = None) -> Secret:
    tokens = tuple(_ids(text) for text in texts)
    found = tuple(tuple(values) for values in planted) if planted else ((),) * len(texts)
    return Secret(tokens, tuple(len(t) + 2 for t in tokens), (0,) * len(texts), found)


def _guess(text: str, client: int = 0, score: float = 0.0, *, verified: bool = False) -> Reconstruction:
    return Reconstruction(client=client, tokens=_ids(text), score=score, verified=verified)


def _measured(secrets: dict[int, Secret], guesses: Sequence[Reconstruction]) -> dict[str, MetricValue]:
    return leakage(match(secrets, guesses), WordTokenizer(), np.random.default_rng(0))


def _values(secrets: dict[int, Secret], guesses: Sequence[Reconstruction]) -> dict[str, float]:
    return {name.partition("/")[2]: metric.value for name, metric in _measured(secrets, guesses).items()}


def _f1(truth: Tokens, guess: Tokens) -> float:
    common = sum((Counter(truth) & Counter(guess)).values())
    return 2 * common / (len(truth) + len(guess)) if common else 0.0


# --- matching -------------------------------------------------------------------------------------------------------


def test_everything_recovered_scores_one_everywhere() -> None:
    texts = ("the cat sat", "a dog ran far")
    values = _values({0: _secret(*texts)}, [_guess(texts[1], verified=True), _guess(texts[0], verified=True)])
    assert values.pop("false-claim") == 0.0
    assert set(values.values()) == {1.0}


def test_nothing_recovered_scores_zero_everywhere() -> None:
    values = _values({0: _secret("the cat sat"), 1: _secret("a dog ran")}, [])
    assert "false-claim" not in values
    assert set(values.values()) == {0.0}


def test_a_text_without_a_partner_scores_zero() -> None:
    values = _values({0: _secret("the cat sat", "a dog ran")}, [_guess("a dog ran")])
    assert values["exact-match"] == values["token-f1"] == values["rouge-1"] == values["rouge-l"] == 0.5


def test_one_guess_is_never_counted_for_two_texts() -> None:
    values = _values({0: _secret("the cat sat", "the cat sat", "the cat sat")}, [_guess("the cat sat")])
    assert values["exact-match"] == values["token-recall"] == pytest.approx(1 / 3)


def test_duplicate_texts_need_duplicate_guesses() -> None:
    twice = [_guess("the cat sat")] * 2
    assert _values({0: _secret("the cat sat", "the cat sat")}, twice)["exact-match"] == 1.0


def test_a_guess_counts_for_its_own_client_only() -> None:
    values = _values({0: _secret("the cat sat"), 1: _secret("a dog ran")}, [_guess("the cat sat", client=1)])
    assert values["exact-match"] == values["token-f1"] == 0.0


def test_the_right_tokens_in_the_wrong_order_are_not_exact() -> None:
    values = _values({0: _secret("the cat sat on a mat")}, [_guess("a mat sat on the cat")])
    assert values["exact-match"] == 0.0
    assert values["token-f1"] == values["token-recall"] == values["rouge-1"] == 1.0
    assert values["rouge-l"] < 1.0
    assert values["rouge-2"] < 1.0


def test_between_guesses_with_the_same_tokens_the_exact_one_is_matched() -> None:
    secrets = {0: _secret("the cat sat", "sat the cat")}
    assert _values(secrets, [_guess("sat the cat"), _guess("the cat sat")])["exact-match"] == 1.0


def test_the_truth_does_not_pick_among_more_guesses_than_texts() -> None:
    """Hundreds of guesses of which the matching takes the best would be an oracle, not an attack."""
    many = [_guess("dog dog dog", score=0.1), *[_guess(word, score=1.0) for word in WORDS]]
    assert _values({0: _secret("the cat sat")}, [*many, _guess("the cat sat", score=2.0)])["exact-match"] == 0.0
    assert _values({0: _secret("the cat sat")}, [*many, _guess("the cat sat", score=0.0)])["exact-match"] == 1.0


def test_a_guess_without_a_score_gives_way_to_those_with_one() -> None:
    secrets = {0: _secret("the cat sat")}
    unsure = _guess("the cat sat", score=float("nan"))
    for guesses in ([unsure, _guess("dog")], [_guess("dog"), unsure]):
        assert _values(secrets, guesses)["exact-match"] == 0.0
    assert _values(secrets, [unsure])["exact-match"] == 1.0


_tokens = st.lists(st.integers(0, 5), min_size=1, max_size=6).map(tuple)


@settings(max_examples=150, deadline=None)
@given(st.lists(_tokens, min_size=1, max_size=4), st.lists(_tokens, max_size=4))
def test_the_matching_is_one_to_one_and_its_summed_f1_the_largest(truths: list[Tokens], guesses: list[Tokens]) -> None:
    guesses = guesses[: len(truths)]
    claims = [Reconstruction(client=3, tokens=tokens, score=0.0) for tokens in guesses]
    secret = Secret(tuple(truths), (0,) * len(truths), (0,) * len(truths), ((),) * len(truths))
    pairs = match({3: secret}, claims).pairs
    assert [pair.truth for pair in pairs] == truths
    used = [pair.guess for pair in pairs if pair.guess is not None]
    assert len(used) == len(guesses)
    assert Counter(g.tokens for g in used) == Counter(guesses)
    padded: list[Tokens | None] = [*guesses, *[None] * (len(truths) - len(guesses))]
    best = max(
        sum(_f1(truth, guess) for truth, guess in zip(truths, order, strict=True) if guess is not None)
        for order in permutations(padded)
    )
    reached = sum(_f1(pair.truth, pair.guess.tokens) for pair in pairs if pair.guess is not None)
    assert reached == pytest.approx(best, abs=1e-8)


_guesses = st.builds(
    Reconstruction,
    client=st.integers(0, 2),
    tokens=_tokens,
    score=st.sampled_from((0.0, 0.5, float("nan"))),
    verified=st.booleans(),
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(_tokens, min_size=1, max_size=3), min_size=1, max_size=3),
    st.lists(_guesses, max_size=8),
    st.randoms(use_true_random=False),
)
def test_permuting_the_guesses_changes_nothing(
    texts: list[list[Tokens]], guesses: list[Reconstruction], shuffler: Any
) -> None:
    secrets = {
        client: Secret(tuple(own), (0,) * len(own), (0,) * len(own), ((),) * len(own))
        for client, own in enumerate(texts)
    }
    shuffled = list(guesses)
    shuffler.shuffle(shuffled)
    assert _measured(secrets, guesses) == _measured(secrets, shuffled)


# --- claims ---------------------------------------------------------------------------------------------------------


def _claims(secrets: dict[int, Secret], guesses: Sequence[Reconstruction]) -> Counter[tuple[int, bool]]:
    return Counter(match(secrets, guesses).claims)


def test_every_verified_guess_is_a_claim_and_no_other() -> None:
    secrets = {0: _secret("the cat sat"), 1: _secret("a dog")}
    guesses = [
        _guess("the cat sat", verified=True),
        _guess("the cat", verified=True),
        _guess("a dog", client=1),
        _guess("a", client=1, verified=True),
    ]
    assert _claims(secrets, guesses) == Counter({(0, True): 1, (0, False): 1, (1, False): 1})
    measured = _measured(secrets, guesses)["leakage/false-claim"]
    assert (measured.value, measured.n) == (pytest.approx(2 / 3), 3)
    assert measured.better_for is BetterFor.DEFENDER


def test_the_same_text_claimed_twice_is_right_once() -> None:
    twice = [_guess("the cat sat", verified=True)] * 2
    assert _claims({0: _secret("the cat sat", "a dog")}, twice) == Counter({(0, True): 1, (0, False): 1})
    assert _claims({0: _secret("the cat sat", "the cat sat")}, twice) == Counter({(0, True): 2})


def test_claims_beyond_the_number_of_texts_still_count() -> None:
    guesses = [_guess("the cat sat", verified=True), *[_guess(w, score=1.0, verified=True) for w in WORDS[:4]]]
    values = _values({0: _secret("the cat sat")}, guesses)
    assert values["false-claim"] == pytest.approx(4 / 5)
    assert values["verified-exact"] == 1.0


def test_exact_but_unproven_is_not_verified() -> None:
    values = _values({0: _secret("the cat sat")}, [_guess("the cat sat")])
    assert (values["exact-match"], values["verified-exact"]) == (1.0, 0.0)


def test_a_claim_for_a_client_that_sent_nothing_is_a_false_one() -> None:
    """An attack that is sure of texts nobody sent must not look as careful as one that is sure of nothing."""
    secrets = {0: _secret("the cat sat")}
    strangers = [_guess("the cat sat", client=c, verified=True) for c in (7, 3, 7)]
    guesses = [_guess("the cat sat", verified=True), *strangers, _guess("the cat sat", client=9)]
    assert _claims(secrets, guesses) == Counter({(0, True): 1, (7, False): 2, (3, False): 1})
    measured = _measured(secrets, guesses)
    assert (measured["leakage/false-claim"].value, measured["leakage/false-claim"].n) == (0.75, 4)
    assert measured == _measured(secrets, guesses[::-1])
    assert {metric.n for name, metric in measured.items() if name != "leakage/false-claim"} == {1}
    # Enough clients for a bootstrap, which draws by their order: that must not be the attack's.
    many = [_guess("a dog", client=c, verified=True) for c in range(1, 30) for _ in range(c % 3 + 1)]
    assert _measured(secrets, guesses + many) == _measured(secrets, many[::-1] + guesses)


def test_proven_but_wrong_is_not_verified_either() -> None:
    values = _values({0: _secret("the cat sat")}, [_guess("the cat", verified=True)])
    assert (values["verified-exact"], values["false-claim"]) == (0.0, 1.0)


# --- planted data ---------------------------------------------------------------------------------------------------


def test_planted_data_is_found_where_it_is_spelled_out_in_order() -> None:
    secret = _secret("the cat sat on a mat", planted=[["cat sat", "a mat"]])
    for guess, expected in (
        ("dog cat sat far", 0.5),
        ("sat cat", 0.0),
        ("cat on sat", 0.0),
        ("a mat the cat sat", 1.0),
        ("cat sat", 0.5),
        ("cat", 0.0),
    ):
        measured = _measured({0: secret}, [_guess(guess)])["leakage/pii-recall"]
        assert (measured.value, measured.n) == (expected, 2), guess


def test_planted_data_counts_only_in_the_guess_matched_to_its_text() -> None:
    secrets = {0: _secret("the cat sat", "a dog ran", planted=[["cat sat"], []])}
    assert _values(secrets, [_guess("a dog cat sat")])["pii-recall"] in (0.0, 1.0)
    assert _values({**secrets, 1: _secret("now")}, [_guess("cat sat", client=1)])["pii-recall"] == 0.0


def test_planted_data_that_truncation_took_from_the_text_is_not_counted() -> None:
    secret = _secret("the cat sat", planted=[["cat sat", "on a mat"]])
    measured = _measured({0: secret}, [_guess("the cat sat")])["leakage/pii-recall"]
    assert (measured.value, measured.n, measured.left_out) == (1.0, 1, 1)
    gone = _secret("the cat sat", planted=[["on a mat"]])
    assert "leakage/pii-recall" not in _measured({0: gone}, [_guess("the cat sat")])


def test_without_planted_data_there_is_no_such_metric() -> None:
    assert "leakage/pii-recall" not in _measured({0: _secret("the cat sat")}, [_guess("the cat sat")])


# --- overlaps, by hand ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("truth", "guess", "f1", "recall"),
    [
        ("the cat sat", "the cat", 0.8, 2 / 3),
        ("the the cat", "the cat cat", 2 / 3, 2 / 3),
        ("the", "the the the the", 0.4, 1.0),
        ("the cat", "dog ran", 0.0, 0.0),
    ],
)
def test_token_overlap_of_multisets(truth: str, guess: str, f1: float, recall: float) -> None:
    values = _values({0: _secret(truth)}, [_guess(guess)])
    assert values["token-f1"] == pytest.approx(f1)
    assert values["token-recall"] == pytest.approx(recall)


def test_rouge_computed_by_hand() -> None:
    """Truth `the cat sat on the mat`, guess `the cat on a mat`: 4 words, 1 pair, and `the cat on mat` in common."""
    values = _values({0: _secret("the cat sat on the mat")}, [_guess("the cat on a mat")])
    assert values["rouge-1"] == pytest.approx(2 * 4 / (6 + 5))
    assert values["rouge-2"] == pytest.approx(2 * 1 / (5 + 4))
    assert values["rouge-l"] == pytest.approx(2 * 4 / (6 + 5))


def test_rouge_2_leaves_out_texts_of_one_word_and_says_how_many_remain() -> None:
    secrets = {0: _secret("the cat", "dog")}
    measured = _measured(secrets, [_guess("the cat"), _guess("dog")])
    short = measured["leakage/rouge-2"]
    assert (short.n, short.value, short.left_out) == (1, 1.0, 1)
    for name in ("rouge-1", "rouge-l", "exact-match"):
        assert (measured[f"leakage/{name}"].n, measured[f"leakage/{name}"].left_out) == (2, 0)
    assert "leakage/rouge-2" not in _measured({0: _secret("dog")}, [])


# --- values ---------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(_tokens, min_size=1, max_size=3), min_size=1, max_size=4),
    st.lists(_guesses, max_size=8),
)
def test_every_value_is_a_fraction_within_its_interval(
    texts: list[list[Tokens]], guesses: list[Reconstruction]
) -> None:
    secrets = {
        client: Secret(tuple(own), (0,) * len(own), (0,) * len(own), ((),) * len(own))
        for client, own in enumerate(texts)
    }
    for name, metric in _measured(secrets, guesses).items():
        assert metric.ci_low is not None
        assert metric.ci_high is not None
        assert 0.0 <= metric.ci_low <= metric.value + 1e-9, name
        assert metric.value - 1e-9 <= metric.ci_high <= 1.0, name
        assert metric.unit == "fraction"
        assert metric.better_for is (BetterFor.DEFENDER if name.endswith("false-claim") else BetterFor.ATTACKER)


def test_intervals_treat_a_batch_as_one_draw() -> None:
    """Eight texts of one client say less than one text of each of eight clients."""
    texts = ["the cat sat"] * 8
    together = _measured({0: _secret(*texts)}, [_guess("the cat sat")] * 8)["leakage/exact-match"]
    apart = _measured(
        {c: _secret("the cat sat") for c in range(8)}, [_guess("the cat sat", client=c) for c in range(8)]
    )["leakage/exact-match"]
    assert together.n == apart.n == 8
    assert together.ci_low is not None
    assert apart.ci_low is not None
    assert together.ci_low < apart.ci_low


def test_no_client_at_all_gives_no_value() -> None:
    values = leakage(Scored((), ()), WordTokenizer(), np.random.default_rng(0))
    assert {(v.value, v.n, v.ci_low, v.ci_high) for v in values.values()} == {(None, 0, None, None)}


# --- texts without a known token --------------------------------------------------------------------------------------


class WithUnknown(WordTokenizer):
    """Has an id for whatever it does not know."""

    unk_token_id = len(WORDS)

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        shown = [i for i in ids if not (skip_special_tokens and i == self.unk_token_id)]
        return " ".join("[UNK]" if i == self.unk_token_id else WORDS[i] for i in shown)


UNKNOWN = WithUnknown.unk_token_id


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("nothing", [(UNKNOWN,), (UNKNOWN,) * 3, ()])
def test_texts_without_a_known_token_are_left_out_and_counted_by_every_metric(nothing: Tokens, *, named: bool) -> None:
    """Whoever knows a text's length reads it "exactly" where every one of its tokens is the unknown one."""
    some = _ids("the cat sat")
    secrets = {c: Secret((some, nothing), (5, 3), (0, 0), ((), ())) for c in (0, 1)}
    secrets[2] = Secret((nothing,), (3,), (0,), ((),))
    claims = [
        Reconstruction(client=client if named else None, tokens=tokens, score=0.0, verified=True)
        for client, secret in secrets.items()
        for tokens in secret.tokens
    ]
    found = leakage(match(secrets, claims), WithUnknown(), np.random.default_rng(0))
    assert {(v.n, v.left_out) for name, v in found.items() if name != "leakage/best-rouge-l"} == {(2, 3)}
    assert (found["leakage/best-rouge-l"].n, found["leakage/best-rouge-l"].left_out) == (2, 1)
    assert {v.value for name, v in found.items() if name != "leakage/false-claim"} == {1.0}
    assert found["leakage/false-claim"].value == 0.0


def test_of_nothing_but_texts_without_a_known_token_there_is_no_value() -> None:
    secrets = {0: Secret(((UNKNOWN,), (UNKNOWN, UNKNOWN)), (3, 4), (0, 0), ((), ()))}
    claims = [Reconstruction(client=0, tokens=tokens, score=0.0, verified=True) for tokens in secrets[0].tokens]
    found = leakage(match(secrets, claims), WithUnknown(), np.random.default_rng(0))
    assert {(v.value, v.n) for v in found.values()} == {(None, 0)}
    assert found["leakage/exact-match"].left_out == 2
    assert "leakage/false-claim" not in found


def test_a_claim_of_unknown_tokens_that_nobody_sent_is_still_false() -> None:
    wrong = Reconstruction(client=0, tokens=(UNKNOWN,), score=0.0, verified=True)
    found = leakage(match({0: _secret("the cat")}, [wrong]), WithUnknown(), np.random.default_rng(0))
    assert (found["leakage/false-claim"].value, found["leakage/false-claim"].n) == (1.0, 1)


def test_a_text_with_one_known_token_counts() -> None:
    text = (UNKNOWN, *_ids("cat"), UNKNOWN)
    claim = Reconstruction(client=0, tokens=text, score=0.0)
    found = leakage(match({0: Secret((text,), (5,), (0,), ((),))}, [claim]), WithUnknown(), np.random.default_rng(0))
    assert (found["leakage/exact-match"].value, found["leakage/exact-match"].left_out) == (1.0, 0)


def test_an_unknown_token_is_a_word_that_was_not_read() -> None:
    """Words that the vocabulary lacks must not drop out of a text, so that what is left of it looks read."""
    text = (*_ids("now"), UNKNOWN, UNKNOWN, *_ids("cat"))
    secrets = {0: Secret((text,), (6,), (0,), ((),))}
    claims = [Reconstruction(client=0, tokens=_ids("now cat"), score=0.0)]
    found = leakage(match(secrets, claims), WithUnknown(), np.random.default_rng(0))
    for name in ("rouge-1", "rouge-l", "token-f1"):
        assert found[f"leakage/{name}"].value == pytest.approx(2 / 3)
    assert found["leakage/rouge-2"].value == 0.0
    claims = [Reconstruction(client=0, tokens=text, score=0.0)]
    found = leakage(match(secrets, claims), WithUnknown(), np.random.default_rng(0))
    assert {value.value for name, value in found.items() if name != "leakage/verified-exact"} == {1.0}


# --- the papers' convention, and the best text of a batch ------------------------------------------------------------


def _rouge_1(truth: str, guess: str) -> float:
    """By hand, of lower-case words."""
    own, other = Counter(truth.split()), Counter(guess.split())
    common = (own & other).total()
    return 2 * common / (own.total() + other.total()) if common else 0.0


_batches = st.lists(st.lists(_tokens, min_size=1, max_size=4), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def framing() -> Any:
    """A tokenizer that puts [CLS] and [SEP] around a text."""
    return tiny_bert.load(labels=2, generator=SeedTree(0).torch("m"), layers=1, width=16).tokenizer


@settings(max_examples=40, deadline=None)
@given(texts=_batches, claimed=_batches)
def test_the_lamp_convention_counts_special_tokens_and_matches_by_rouge_1(
    texts: list[list[Tokens]], claimed: list[list[Tokens]], framing: Any
) -> None:
    known = sorted(word for word in framing.get_vocab() if word.isalpha() and len(word) > 1)
    words = framing.convert_tokens_to_ids(known[:6])  # a text without a known word would be left out
    real = [[tuple(words[i] for i in ids) for ids in own] for own in texts]
    secrets = {c: Secret(tuple(own), (0,) * len(own), (0,) * len(own), ((),) * len(own)) for c, own in enumerate(real)}
    guesses = [
        Reconstruction(client=c, tokens=tuple(words[i] for i in ids), score=float(n))
        for c, own in enumerate(claimed)
        for n, ids in enumerate(own)
    ]
    expected = []
    for client, own in enumerate(real):
        truths = [f"cls {framing.decode(list(ids))} sep" for ids in own]
        mine = sorted((g for g in guesses if g.client == client), key=lambda g: g.score)[: len(own)]
        said: list[str] = [f"cls {framing.decode(list(g.tokens))} sep" for g in mine]
        said += [""] * (len(own) - len(said))
        expected.append(max(sum(map(_rouge_1, truths, order)) for order in permutations(said)))
    found = leakage(match(secrets, guesses), framing, np.random.default_rng(0))["leakage/rouge-1-lamp"]
    assert found.n == sum(map(len, texts))
    assert found.value * found.n == pytest.approx(sum(expected), abs=1e-9)


def test_a_total_failure_still_scores_in_the_lamp_convention(framing: Any) -> None:
    truth, guess = (tuple(framing(t, add_special_tokens=False)["input_ids"]) for t in ("no pain was", "the and with"))
    secrets = {0: Secret((truth,), (5,), (0,), ((),))}
    values = leakage(
        match(secrets, [Reconstruction(client=0, tokens=guess, score=0.0)]), framing, np.random.default_rng(0)
    )
    assert values["leakage/rouge-1"].value == 0.0
    assert values["leakage/rouge-1-lamp"].value == values["leakage/rouge-l-lamp"].value == pytest.approx(2 / 5)
    assert values["leakage/rouge-2-lamp"].value == 0.0


@settings(max_examples=60, deadline=None)
@given(_batches, st.lists(_guesses, max_size=8))
def test_the_best_text_is_each_clients_largest_rouge_l(
    texts: list[list[Tokens]], guesses: list[Reconstruction]
) -> None:
    secrets = {
        client: Secret(tuple(own), (0,) * len(own), (0,) * len(own), ((),) * len(own))
        for client, own in enumerate(texts)
    }
    scored = match(secrets, guesses)
    from rouge_score.rouge_scorer import RougeScorer

    scorer, best = RougeScorer(["rougeL"]), dict.fromkeys(secrets, 0.0)
    for pair in scored.pairs:
        said = " ".join(WORDS[i] for i in pair.guess.tokens) if pair.guess else ""
        value = scorer.score(" ".join(WORDS[i] for i in pair.truth), said)["rougeL"].fmeasure
        best[pair.client] = max(best[pair.client], value)
    found = leakage(scored, WordTokenizer(), np.random.default_rng(0))["leakage/best-rouge-l"]
    assert found.n == len(texts)
    assert found.value == pytest.approx(sum(best.values()) / len(best))


def test_of_a_sum_every_client_has_its_own_best_text() -> None:
    secrets = {0: _secret("the cat sat", "a dog"), 1: _secret("now")}
    guesses = [Reconstruction(client=None, tokens=_ids(t), score=0.0) for t in ("the cat sat", "a mat")]
    values = _values(secrets, guesses)
    assert values["best-rouge-l"] == pytest.approx((1.0 + 0.0) / 2)
    assert values["rouge-1-lamp"] == pytest.approx((1.0 + 0.5 + 0.0) / 3)
