"""The language prior: better than word counts on unseen texts, trained once, and of the victim's vocabulary."""

from collections import Counter
from math import exp, log
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from fedsec.cell.auxiliary import framed
from fedsec.data import clinic_notes
from fedsec.errors import FedsecError
from fedsec.models import language_prior, tiny_bert, tiny_gpt2
from fedsec.models.language_prior import ready_prior, train_prior
from fedsec.seeds import SeedTree


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("FEDSEC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """The tiny encoder's."""
    return tiny_bert.load(labels=2, generator=SeedTree(0).torch("m"), layers=1, width=16).tokenizer


def _rows(tokenizer: Any, count: int, seed: int) -> list[list[int]]:
    return framed([note.text for note in clinic_notes.generate(count, seed=seed)], tokenizer, 64, ended=False)


def _perplexity(model: Any, rows: list[list[int]]) -> float:
    lost, count = 0.0, 0
    for row in rows:
        ids = torch.tensor([row])
        lost += float(functional.cross_entropy(model(input_ids=ids).logits[0, :-1], ids[0, 1:], reduction="sum"))
        count += len(row) - 1
    return exp(lost / count)


def _unigram(train: list[list[int]], rows: list[list[int]], words: int) -> float:
    counts = Counter(token for row in train for token in row[1:])
    total = counts.total() + words  # add one
    tokens = [token for row in rows for token in row[1:]]
    return exp(-sum(log((counts[token] + 1) / total) for token in tokens) / len(tokens))


def test_it_predicts_unseen_text_better_than_word_counts(tokenizer: Any) -> None:
    train, test = _rows(tokenizer, 300, 11), _rows(tokenizer, 40, 12)
    model = train_prior(train, tokenizer, positions=64, steps=60)
    assert _perplexity(model, test) < 0.4 * _unigram(train, test, len(tokenizer))


def test_it_is_a_distribution_and_rare_tokens_share_their_class_evenly(tokenizer: Any) -> None:
    rows = _rows(tokenizer, 60, 11)
    model = train_prior(rows, tokenizer, positions=64, steps=3)
    counts = Counter(token for row in rows for token in row)
    probabilities = model(input_ids=torch.tensor(rows[:1])).logits[0, -1].softmax(dim=0)
    assert float(probabilities.sum()) == pytest.approx(1.0, abs=1e-4)
    rare = [token for token in range(len(tokenizer)) if counts[token] < 2]
    assert len(rare) > 100
    assert probabilities[rare].max() == probabilities[rare].min()
    common = [token for token in range(len(tokenizer)) if counts[token] >= 2]
    assert len({round(float(p), 9) for p in probabilities[common]}) > len(common) // 2


def test_it_is_trained_once_and_kept(tokenizer: Any, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []
    fit = language_prior._fit

    def noted(*given: Any) -> float:
        ran.append(torch.get_num_threads())
        return fit(*given)

    monkeypatch.setattr(language_prior, "_fit", noted)
    rows = _rows(tokenizer, 30, 11)
    before = torch.get_rng_state()
    with torch.no_grad():  # an attack may ask where no gradients are kept
        first = train_prior(rows, tokenizer, positions=64, steps=2)
    again = train_prior(rows, tokenizer, positions=64, steps=2)
    assert ran == [1]
    assert torch.equal(torch.get_rng_state(), before)
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    for changed in ({"steps": 3}, {"positions": 65}):
        train_prior(rows, tokenizer, **{"positions": 64, "steps": 2, **changed})
    train_prior(rows[1:], tokenizer, positions=64, steps=2)
    assert len(ran) == 4
    for path in cache.glob("*.safetensors"):
        path.write_bytes(b"broken")
    train_prior(rows, tokenizer, positions=64, steps=2)
    assert len(ran) == 5


def test_texts_without_two_tokens_are_refused(tokenizer: Any) -> None:
    with pytest.raises(FedsecError, match="no auxiliary text has two tokens"):
        train_prior([[3], []], tokenizer, positions=8, steps=1)


def test_a_ready_model_has_to_have_the_victims_vocabulary(tokenizer: Any, tmp_path: Path) -> None:
    made = tiny_gpt2.load(
        labels=0, generator=SeedTree(0).torch("m"), task="causal-lm", layers=1, width=16, vocabulary=300
    )
    made.module.save_pretrained(tmp_path / "lm")  # type: ignore[operator]
    made.tokenizer.save_pretrained(tmp_path / "lm")
    model = ready_prior(str(tmp_path / "lm"), made.tokenizer)
    assert not model.training
    ids = torch.tensor(made.tokenizer(["the knee"])["input_ids"])
    assert torch.allclose(model(input_ids=ids).logits, made.module.eval()(input_ids=ids).logits, atol=1e-5)
    with pytest.raises(FedsecError, match=r"another vocabulary than the victim \(300 and 1,"):
        ready_prior(str(tmp_path / "lm"), tokenizer)
