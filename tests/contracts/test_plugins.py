"""Every registered plug-in keeps the contract."""

from pathlib import Path
from typing import Any

import pytest

from fedsec import registry
from fedsec.api import AttackCard, Card, DatasetCard, DefenseCard, ModelCard
from fedsec.cell.resources import Resources
from fedsec.errors import MissingDataError
from fedsec.plan.cells import NONE, expand
from fedsec.testing import canned, contracts
from fedsec.testing.conduct import Subject, check_conduct

ROOT = Path(__file__).parent.parent.parent
# Clients that differ, and enough colluders who know of them, for attacks that stay within the honest spread.
SPREAD = ["threat.malicious=3", "threat.knowledge=[benign-updates]", "data.partition={kind: dirichlet, alpha: 0.3}"]
# A random encoder's layers have gradients a million times smaller than its head's, which squared distance misses.
MATCHING = {
    "shows": "leakage/token-f1",
    "overrides": ["model={name: minilm, dropout: false}", "data.max_tokens=8", "federation.clients=3"],
}
# Of longer texts a random encoder's second layer keeps too little to verify any: minutes for nothing.
SHORT_TEXTS = {"overrides": ["federation.clients=2", "data.max_tokens=8"]}
# film writes with the victim's own language model, which has to know the clients' kind of text.
PATIENT = ["threat.malicious=5", "federation.local_steps=12", "federation.learning_rate=0.01"]
DECODER = [
    "model={name: tiny-gpt2, task: causal-lm, dropout: false, trained_on: canned-words, training_steps: 150}",
    "data={name: canned-words, max_tokens: 32}",
]
# One batch of each client's in every round, as attacks on single updates have it best.
GRADIENTS = [
    "federation={clients: 8, rounds: 3, batch_size: 2, optimizer: sgd, learning_rate: 0.1, update: gradient}",
    "threat.attack_rounds=all",
]
# Minutes on a real encoder, or seconds each for what differs little from another; what else they promise is tested in
# attacks/.
SLOW = {"dlg", "tag", "lamp", "constrain-and-scale", "clean-label", "edge-case", "distributed-backdoor"}
SLOW |= {"causal-backdoor", "instruction-backdoor", "rare-embedding", "neurotoxin", "poisoned-base-model"}
SLOW |= {"gradient-difference", "fedmia", "loss-series", "words-touched", "lira", "rmia", "shadow-classifier"}
SLOW |= {"min-k", "min-k-plus-plus", "zlib", "recall"}
SLOW_DEFENSES = {
    "dp-fedavg",
    "neuron-pruning",
    "dp-lora",
    "bucketing",
    "crfl",
    "dnc",
    "fldetector",
    "he-bfv",
    "he-ckks",
    "weak-dp",
    "zeno",
}
"""Whose effect takes many trainings to show, or is tested on rows; their cards and conduct are checked at once."""
OF_TEXTS = {"onion", "onion-sanitiser", "strip", "rap", "cube"}
"""Whose effect takes texts of a language that there is a model of: benchmark/backdoor-text-defenses and -rows show it,
and defenses/text that they act. Their cards and conduct are checked here."""
# What an attack or a defense needs to show its effect on the canned federation, where the defaults do not.
ATTACKS: dict[str, dict[str, Any]] = {
    "film": {"strongest": {"beams": 8, "rounds": 2}, "shows": "leakage/rouge-l", "overrides": DECODER},
    "film-coverage": {"overrides": DECODER},
    "sign-flip": {"strongest": {"scale": 10}},
    "dlg": {**MATCHING, "strongest": {"steps": 60, "optimizer": "lbfgs"}},
    "tag": {**MATCHING, "strongest": {"steps": 60, "optimizer": "lbfgs"}},
    "dager": SHORT_TEXTS,
    "embedding-algebra": SHORT_TEXTS,
    "lamp": {**MATCHING, "strongest": {"steps": 60, "optimizer": "lbfgs", "starts": 4, "candidates": 10}},
    "lamp-search": {
        "strongest": {"steps": 30, "pause": 30, "search": 60},
        "shows": "leakage/token-f1",
        "overrides": ["federation.clients=2", "data.max_tokens=8"],
    },
    # Work that is missing shows early in training, and if enough of it is.
    "zero": {"overrides": ["threat.malicious=3", "federation.rounds=3", "federation.local_steps=4"]},
    "free-rider": {"overrides": ["threat.malicious=5", "federation.rounds=3", "federation.local_steps=4"]},
    "non-finite": {"refused": True},
    "count-inflation": {"strongest": {"scale": 10}, "overrides": ["federation.weighting=examples"]},
    "lora-gauge": {
        "strongest": {"scale": 3},
        "overrides": [
            "model.tuning.kind=lora",
            "threat.malicious=3",
            "threat.knowledge=[benign-updates]",
            "federation.local_steps=6",
        ],
    },
    "ipm": {"strongest": {"epsilon": 10}},
    "alie": {"strongest": {"z": 30}, "overrides": ["threat.malicious=3"]},  # one known row has no deviation
    "min-max": {"overrides": SPREAD},
    "min-sum": {"overrides": SPREAD},
    "mimic": {"overrides": SPREAD},
    # What enters the query of a single layer at [CLS] is the same for every text.
    "projection-residual": {"overrides": [*GRADIENTS, "model={name: tiny-bert, layers: 2, dropout: false}"]},
    "gradient-cosine": {"overrides": GRADIENTS},
    "gradient-difference": {"overrides": GRADIENTS},
    "fedmia": {"overrides": GRADIENTS},
    "loss-series": {"overrides": ["threat.attack_rounds=all"]},
    "canary-direction": {"shows": "audit/epsilon-lower-bound"},  # nobody promises anything undefended
    "canary-client": {"shows": "audit/epsilon-lower-bound"},
    "label-flip": {"overrides": ["threat.malicious=4"]},
    "clean-label": {"strongest": {"keep": 0.0}, "overrides": ["threat.malicious=4", "federation.local_steps=6"]},
    "edge-case": {"overrides": ["data.max_tokens=32"]},
    "causal-backdoor": {"strongest": {"continuation": "cf"}, "overrides": PATIENT},
    "instruction-backdoor": {
        "strongest": {"continuation": "cf", "place": "end"},
        "overrides": [*PATIENT, "data={name: canned-orders, max_tokens: 48}", "federation.rounds=12"],
    },
    "rare-embedding": {"strongest": {"scale": 3, "learning_rate": 0.1, "steps": 6, "ensemble": 2}},
}
DEFENSES: dict[str, dict[str, Any]] = {
    # It is there for rules that choose among rows, where clients' data differ.
    "bucketing": {
        "beside": {"name": "krum"},
        "overrides": [
            "federation.clients=14",
            "federation.local_steps=4",
            "data.partition={kind: dirichlet, alpha: 0.3}",
        ],
    },
    # With a rank that learns records by heart: there has to be something to hide.
    "dp-lora": {
        "attack": {"name": "loss"},
        "overrides": [
            "model.tuning={kind: lora, rank: 16}",
            "federation.optimizer=adamw",
            "federation.learning_rate=0.02",
        ],
    },
    "dp-fedavg": {"attack": {"name": "loss"}, "parameters": {"clip": 0.1}},
    "dropout": {"attack": {"name": "dager"}},  # embedding-algebra does not mind it
    "gaussian-noise": {"parameters": {"sigma": 1.0}},  # embedding-algebra reads single texts under a tenth of that
    # Of the embeddings, whose rows are 0 but for a text's own words, it leaves out nothing that is not 0.
    "gradient-pruning": {"attack": {"name": "dager"}, "parameters": {"keep": 0.5}},
    "fltrust": {"overrides": ["data.trusted=60"]},
    "zeno": {"overrides": ["data.trusted=60"]},
    # It finds nobody before its window is over, and what was ruined until then has to be learnt again.
    "fldetector": {"parameters": {"window": 1}, "overrides": ["federation.rounds=10"]},
    "weak-dp": {"parameters": {"bound": 1.0, "sigma": 0.0001}, "overrides": ["federation.local_steps=6"]},
    "crfl": {"attack": {"name": "text-backdoor"}, "parameters": {"norm": 5.0, "sigma": 0.01, "copies": 5}},
    "sign-majority": {
        "attack": {"name": "text-backdoor"},
        "parameters": {"threshold": 5},
        "overrides": ["threat.malicious=2"],
    },
    "norm-bound": {"overrides": ["federation.local_steps=6"]},
    "server-finetune": {"overrides": ["data.trusted=120"]},
    # It takes little of a backdoor where units are few; of a model that is ruined it leaves less than there was.
    "neuron-pruning": {
        "attack": {"name": "text-backdoor"},
        "parameters": {"steps": 100},
        "overrides": [
            "data.trusted=120",
            "model.tuning={kind: lora, rank: 8}",
            "federation.learning_rate=0.02",
            "federation.local_steps=8",
        ],
    },
    # It is there for sybils, which send the same; these turn the mean around.
    "foolsgold": {"attack": {"name": "ipm", "epsilon": 3}, "overrides": ["threat.malicious=3"]},
}
LANGUAGE = "data.language_model={name: canned-public, rows: 30, training_steps: 5}"
CONDUCT = {
    "dp-lora": ["model.tuning={kind: lora, rank: 16}"],
    "neuron-pruning": ["data.trusted=60"],
    "onion": [LANGUAGE],
    "onion-sanitiser": [LANGUAGE],
    "strip": ["data.trusted=20"],
    "rap": ["data.trusted=20"],
}
MODELS = {"minilm": ["model.tuning.kind=head"]}  # the whole encoder would take half a minute


def _built_in(cards: registry.Registry[Any]) -> list[Any]:
    """Third parties' packages, such as tests/plugin_example, bring their own tests."""
    return [card for card in cards if card.target.startswith("fedsec.")]


@pytest.mark.parametrize(
    "card",
    [
        pytest.param(card, marks=pytest.mark.slow) if card.name in SLOW else card
        for card in _built_in(registry.attacks())
    ],
    ids=lambda card: card.name,
)
def test_attack(card: AttackCard, tmp_path: Path) -> None:
    contracts.check_attack(card, tmp_path, **ATTACKS.get(card.name, {}))


@pytest.mark.parametrize(
    "card",
    [
        pytest.param(card, marks=pytest.mark.slow) if card.name in SLOW_DEFENSES else card
        for card in _built_in(registry.defenses())
        if card.name not in OF_TEXTS
    ],
    ids=lambda card: card.name,
)
def test_defense(card: DefenseCard, tmp_path: Path) -> None:
    contracts.check_defense(card, tmp_path, **DEFENSES.get(card.name, {}))


LONG = {"crfl", "onion", "cube"}
"""They ask noisy copies of the model for every answer, train a language model, or train every client twice; their steps
are tested by themselves."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in sorted(SLOW_DEFENSES | OF_TEXTS)],
)
def test_conduct_of_a_slow_defense(name: str, tmp_path: Path) -> None:
    contracts.check_card(registry.defenses().get(name))
    with canned.registered():
        scenario = canned.byzantine(NONE, name, overrides=(*canned.SHORT, *CONDUCT.get(name, ())))
        cell = next(cell for cell in expand(scenario) if cell.defense_label.startswith(name))
        check_conduct(Subject(cell, Resources(), name), tmp_path)


# Half a minute to convert; what it promises is tested on a small copy of its file in models/test_smollm2.py.
SLOW_MODELS = {"smollm2-135m"}


@pytest.mark.parametrize(
    "card",
    [
        pytest.param(card, marks=pytest.mark.slow) if card.name in SLOW_MODELS else card
        for card in _built_in(registry.models())
    ],
    ids=lambda card: card.name,
)
def test_model(card: ModelCard) -> None:
    try:
        contracts.check_model(card, MODELS.get(card.name, ()))
    except MissingDataError as error:
        pytest.skip(f"not on this machine: {error}")


@pytest.mark.parametrize(
    "card", [c for c in _built_in(registry.datasets()) if c.columns is None], ids=lambda card: card.name
)
def test_dataset(card: DatasetCard) -> None:
    contracts.check_dataset(card)


@pytest.mark.parametrize(
    "card", [*_built_in(registry.attacks()), *_built_in(registry.defenses())], ids=lambda card: card.name
)
def test_the_rooms_readme_names_the_method_its_file_and_its_paper(card: Card) -> None:
    module = card.target.partition(":")[0].removeprefix("fedsec.")
    room = module.split(".")[0]
    file = module.replace(".", "/") + ".py"
    rows = [row for row in (ROOT / room / "README.md").read_text().splitlines() if f"`{card.name}`" in row]
    assert rows, f"{room}/README.md has no row for `{card.name}`"
    assert (ROOT / file).is_file()
    assert file.partition("/")[2] in rows[0]


def test_nothing_registered_is_broken() -> None:
    groups = (
        registry.attacks(),
        registry.defenses(),
        registry.models(),
        registry.datasets(),
        registry.metrics(),
    )
    assert [group.broken for group in groups] == [{}, {}, {}, {}, {}]
