"""The head-to-head table of the terminal: what a reader learns from the printed text alone."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from fedsec.cli.side_by_side import head_to_head_tables
from fedsec.report.scorecard import build

from ..report.support import HOSTILE, Content, leakage, membership, not_run, planted, trained

DP = {
    "kind": "differential-privacy", "epsilon": 7.97, "delta": 1e-5, "unit": "record", "sampling": "poisson",
    "accountant": "prv", "against": ["released-model", "server"], "assumes": "x", "void": [],
}  # fmt: skip
PROOF = {"kind": "robustness", "assumes": "n > 2f"}
STACKS = {
    "none": None,
    "frozen-embeddings": None,
    "gaussian-noise(sigma=0.5)": None,
    "nnm+trimmed-mean": PROOF,
    "norm-bound(bound=1)": None,
    "dp-sgd(epsilon=8)": DP,
}
KNOWN = {"none": 340, "frozen-embeddings": 336, "gaussian-noise(sigma=0.5)": 300, "dp-sgd(epsilon=8)": 260}
"""Right answers without an attack, of 400."""


def bits(right: int, of: int = 400) -> str:
    return "1" * right + "0" * (of - right)


def suite() -> list[Content]:
    """Four goals against six defenses, of which some do not apply, hide what an attack needs, or fail."""
    cells = []
    for place, (defense, guarantee) in enumerate(STACKS.items()):
        same: dict[str, Any] = {"defense": defense, "guarantee": guarantee}
        right = bits(KNOWN.get(defense, 330))
        leaks, auc, hits = 1.0 - place / 5, 0.95 - place / 20, [1] * (90 - 15 * place) + [0] * (10 + 15 * place)
        cells.append(trained(right, **same))
        told: dict[str, Any] = {"goal": "membership", "position": "released-model"}
        cells.append(trained(right, attack="gradient-cosine", metrics=membership(auc), **told, **same))
        cells.append(planted(hits, [0] * 100, right, attack="text-backdoor", **same))
        if defense == "frozen-embeddings":
            blocked = {"status": "blocked", "reason": "hidden"}
            cells.append(trained(right, attack="embedding-algebra", metrics=leakage(0.0, 0.05), **blocked, **same))
        else:
            cells.append(
                trained(right, attack="dager", metrics=leakage(leaks, leaks, 100), adaptive=place == 2, **same)
            )
        if defense == "norm-bound(bound=1)":
            cells.append(not_run("error", "boom", attack="ipm", defense=defense, position="client"))
        elif guarantee == DP:
            cells.append(not_run("n/a", "no", attack="ipm", defense=defense, position="client"))
        else:
            cells.append(trained(bits(150 + 30 * place), attack="ipm", position="client", **same))
    return cells


def printed(cells: list[Content], width: int) -> str:
    console = Console(width=width, record=True, file=StringIO())
    for table in head_to_head_tables(build("a/b", "0" * 16, cells)["head_to_head"], width):
        console.print(table)
    return console.export_text()


def read(text: str) -> dict[str, dict[str, list[str]]]:
    """The lines of each cell by defense and heading, from the printed text and nothing else; parts are put together."""
    found: dict[str, dict[str, list[str]]] = {}
    heads: list[str] = []
    rows: list[list[str]] = []
    for line in text.splitlines():
        if line[:1] in "┏┡├└":
            if line[0] == "┡":
                heads = [" ".join(lines) for lines in zip(*rows, strict=True)]
                heads = [" ".join(one.split()) for one in heads]
            elif rows:
                columns = [[one for one in lines if one] for lines in zip(*rows, strict=True)]
                own = found.setdefault("".join(columns[0]), {})
                own |= dict(zip(heads[1:], columns[1:], strict=True))
            rows = []
        elif line[:1] in "│┃":
            rows.append([one.strip() for one in line.strip("│┃").replace("┃", "│").split("│")])
    return found


@pytest.mark.parametrize("width", [100, 140])
def test_the_worst_attack_the_price_and_the_guarantee_of_each_defense_are_read_from_the_table(width: int) -> None:
    text = printed(suite(), width)
    assert text.count("┏") == (1 if width == 140 else 2)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    table = read(text)
    assert list(table) == list(STACKS)
    worst = {defense: {goal: " ".join(cell) for goal, cell in own.items()} for defense, own in table.items()}
    none, frozen, noise = (worst[name] for name in list(STACKS)[:3])
    assert none["reconstruction"] == "100 % [96, 100] dager rank 5"
    assert frozen["reconstruction"] == "blocked no rank"
    assert noise["reconstruction"] == "60 % [50, 69] dager rank 4"
    assert none["membership"] == "90 % [85, 93] gradient-cosine", "a chain of overlaps: nobody has a rank of their own"
    assert frozen["membership"] == "80 % [73, 85] gradient-cosine *"
    assert noise["backdoor"] == "60 % [50, 70] text-backdoor * rank 1"
    assert noise["untargeted"] == "43 % [37, 49] ipm *"
    assert worst["norm-bound(bound=1)"]["untargeted"] == "ERROR"
    assert worst["dp-sgd(epsilon=8)"]["untargeted"] == "n/a"
    price = {name: own["price (points of accuracy)"] for name, own in worst.items()}
    assert list(price.values()) == ["-", "1 [0, 2]", "10 [7, 13]", "3 [1, 4]", "3 [1, 4]", "20 [16, 24]"]
    assert {name: own["guarantee"] for name, own in worst.items()} == {
        **dict.fromkeys(STACKS, "none"),
        "nnm+trimmed-mean": "robustness",
        "dp-sgd(epsilon=8)": "epsilon 7.97 per record not vs client",
    }
    assert noise["per round (bytes are a client's)"] == "sends 91 MB takes 0.25 s"
    assert "* No attack that it faced knows the defense." in " ".join(text.split())


def test_one_defense_is_no_table_and_no_attack_leaves_prices() -> None:
    assert head_to_head_tables(build("a/b", "0" * 16, [trained()])["head_to_head"], 100) == []
    table = read(printed([trained(bits(340)), trained(bits(300), defense="krum")], 100))
    assert table["krum"]["price (points of accuracy)"][0].startswith("10 [")


@pytest.mark.parametrize("width", [40, 100])
def test_hostile_names_are_text(width: int) -> None:
    cells = [trained(bits(340))]
    for name in HOSTILE:
        name = name[:300] or "empty"
        cells += [
            trained(bits(330), defense=name),
            trained(bits(330), attack=name, defense=name, metrics=leakage(0.4, 0.5)),
        ]
    text = printed(cells, width)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert max(map(len, text.splitlines())) <= width
