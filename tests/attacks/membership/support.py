"""What tests of membership attacks share: evidence without a federation around it, and one small federation."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedsec.api import (
    Candidate,
    Evidence,
    Granted,
    Knowledge,
    Layout,
    PublicModel,
    ReleasedView,
    Tokens,
    TrainingSettings,
)
from fedsec.cell.resources import Resources
from fedsec.cell.score import score
from fedsec.cell.training import train
from fedsec.config.load import load_scenario
from fedsec.plan.cells import expand

Answers = Mapping[Tokens, torch.Tensor | None]
TRAINING = TrainingSettings(update="delta", optimizer="sgd", learning_rate=0.1, local_steps=1, batch_size=1)
VOCABULARY = 11


def labelled(count: int, classes: int = 3, seed: int = 0) -> tuple[Candidate, ...]:
    """Texts of 2 to 9 tokens, each with a label."""
    generator = np.random.default_rng(seed)
    return tuple(
        Candidate(
            text=str(place),
            label=int(generator.integers(classes)),
            prompt="",
            tokens=(place, *generator.integers(VOCABULARY, size=generator.integers(1, 9)).tolist()),
        )
        for place in range(count)
    )


def written(count: int, seed: int = 0) -> tuple[Candidate, ...]:
    """Texts of 3 to 9 tokens for a causal model, learned from the first token, the second, and so on."""
    generator = np.random.default_rng(seed)
    found = []
    for place in range(count):
        tokens = tuple(generator.integers(VOCABULARY, size=3 + place % 7).tolist())
        found.append(Candidate(str(place), 0, "", tokens, learned_from=place % len(tokens)))
    return tuple(found)


def evidence(
    released: Answers | None, base: Answers | None = None, asked: list[int] | None = None, vocabulary: int = VOCABULARY
) -> Evidence:
    """Evidence whose models answer from a table; `asked` is told how many queries come at a time."""

    def answers(table: Answers) -> Callable[[tuple[Tokens, ...]], list[Any]]:
        def answer(queries: tuple[Tokens, ...]) -> list[Any]:
            if asked is not None:
                asked.append(len(queries))
            return [table[query] for query in queries]

        return answer

    vector = torch.arange(3.0)
    granted = Granted({Knowledge.BASE_MODEL: vector} if base is not None else {})
    words, generator = range(vocabulary), torch.Generator().manual_seed(0)

    def ask(trainables: torch.Tensor, queries: tuple[Tokens, ...]) -> list[Any]:
        assert torch.equal(trainables, vector)
        return answers(base or {})(queries)

    def view() -> ReleasedView:
        return ReleasedView(
            model=PublicModel(module=None, tokenizer=words, layout=Layout((), (), 3)),
            answer=answers(released or {}),
            training=TRAINING,
            granted=granted,
            generator=generator,
        )

    return Evidence(
        rounds=(),
        at=lambda number: _none(number),
        released=None if released is None else view,
        ask=None if base is None else ask,
        question=None,
        classes=(),
        tokenizer=words,
        training=TRAINING,
        granted=granted,
        generator=generator,
    )


def _none(number: int) -> Any:
    raise KeyError(number)


def logits(candidates: Sequence[Candidate], classes: int = 3, seed: int = 0) -> dict[Tokens, torch.Tensor | None]:
    """Random answers to each candidate: [classes], or [tokens, vocabulary]."""
    generator = torch.Generator().manual_seed(seed)
    return {
        one.tokens: 3
        * torch.randn(*((classes,) if one.learned_from is None else (len(one.tokens), VOCABULARY)), generator=generator)
        for one in candidates
    }


def slow_loss(candidate: Candidate, answer: torch.Tensor) -> float:
    """The candidate's loss, a token at a time."""
    if candidate.learned_from is None:
        return float(torch.nn.functional.cross_entropy(answer[None], torch.tensor([candidate.label])))
    places = range(max(1, candidate.learned_from), len(candidate.tokens))
    each = [
        float(torch.nn.functional.cross_entropy(answer[place - 1][None], torch.tensor([candidate.tokens[place]])))
        for place in places
    ]
    return sum(each) / len(each)


def small_federation(
    folder: Path, attack: str, knowledge: Sequence[str] = (), defense: Any = "none", **changes: Any
) -> dict[str, Any]:
    """The cell of an attack on a model that has learnt random labels, or random texts, by heart.

    Args:
        folder: where its texts are put.
        attack: a registered attack's name.
        knowledge: granted.
        defense: as in a scenario.
        changes: top-level parts of the scenario that are other ones.
    """
    generator = np.random.default_rng(0)
    words = [f"{a}{b}" for a in ("ba", "ko", "lu", "mi", "re", "ta") for b in ("n", "s", "d", "la", "ro", "ti")]
    rows = [
        {"text": " ".join(generator.choice(words, size=10).tolist()), "label": int(generator.integers(2))}
        for _ in range(120)
    ]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows[:100])))
    (folder / "test.jsonl").write_text("\n".join(map(json.dumps, rows[100:])))
    content: dict[str, Any] = {
        "schema": 1,
        "name": "small/membership",
        "summary": "Does the attack tell members from others?",
        "model": {"name": "tiny-bert", "layers": 1, "dropout": False},
        "data": {"path": str(folder), "max_tokens": 48, "candidates": {"count": 80, "inclusion": "half"}},
        "federation": {
            "clients": 1,
            "rounds": 2,
            "local_steps": 150,
            "batch_size": 8,
            "optimizer": "adamw",
            "learning_rate": 5e-4,
            "evaluate_every": 2,
        },
        "threat": {"knowledge": list(knowledge)},
        "matrix": {"attack": [attack], "defense": [defense]},
        **changes,
    }
    (cell,) = (
        one
        for one in expand(load_scenario(content, []))
        if one.attack.name == attack and (defense == "none") == (not one.defense)
    )
    found: dict[str, Any] = score(cell, train(cell, frozenset(cell.rounds), Resources(), lambda progress: None))
    return found
