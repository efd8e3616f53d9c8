"""CUBE: the largest cluster of each class, also where a client holds few rows."""

from typing import Any

import pytest
import torch

from fedsec.api import ClientView, Sample, TrainingSettings
from fedsec.defenses.text.cube import Cube, largest_cluster

TRAINING = TrainingSettings(update="delta", optimizer="sgd", learning_rate=0.1, local_steps=1, batch_size=8)


def _points(sizes: tuple[int, ...], apart: float, seed: int = 0) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    parts = [
        torch.randn(size, 20, generator=draws, dtype=torch.float64) + apart * place * torch.ones(20)
        for place, size in enumerate(sizes)
    ]
    return torch.cat(parts)


@pytest.mark.parametrize(("sizes", "least"), [((200, 60), 26), ((40, 12), 5), ((60, 200), 26)])
def test_the_largest_cluster_stays(sizes: tuple[int, ...], least: int) -> None:
    kept = largest_cluster(_points(sizes, 8.0), 10, least)
    main = range(sizes[0]) if sizes[0] > sizes[1] else range(sizes[0], sum(sizes))
    assert set(kept) <= set(main)
    assert len(kept) > 0.8 * max(sizes)


def test_too_few_rows_for_clusters_all_stay() -> None:
    assert largest_cluster(_points((6,), 0.0), 10, 5) == list(range(6))
    assert largest_cluster(torch.zeros(0, 4, dtype=torch.float64), 10, 5) == []
    same = torch.ones(50, 4, dtype=torch.float64)
    assert len(largest_cluster(same, 10, 5)) == 50


def _view(hidden: torch.Tensor, calls: list[int]) -> Any:
    def train(samples: Any, start: torch.Tensor, **settings: Any) -> torch.Tensor:
        calls.append(settings["steps"])
        return start

    return ClientView(
        client=0, round=1, global_parameters=torch.zeros(3), layout=None, training=TRAINING,  # type: ignore[arg-type]
        train=train, represent=lambda samples, parameters: hidden[[one.origin for one in samples]].float(),
        generator=torch.Generator(),
    )  # fmt: skip


def test_a_small_client_loses_its_poison_once_and_remembers() -> None:
    """Elsewhere a cluster has 100 rows, which a client with fewer never has."""
    hidden = torch.cat([_points((40, 10), 8.0), _points((30,), 0.0, seed=1)])
    rows = tuple(Sample(f"row {place}", int(place >= 50), origin=place) for place in range(80))
    calls: list[int] = []
    defense = Cube()
    found = defense.on_data(rows, _view(hidden, calls))
    kept = {one.origin for one in found.value}
    assert not kept & set(range(40, 50)), "the small cluster of class 0 is the poison"
    assert len(kept & set(range(40))) > 30
    assert found.measurements["rows-kept"] == pytest.approx(len(kept) / 80)
    again = Cube()
    again.load_state(defense.state())
    assert again.on_data(rows, _view(hidden, calls)).value == found.value
    assert calls == [10], "one pass over 80 rows of 8, in the first round alone"
    again.on_data(rows[:60], _view(hidden, calls))
    assert calls == [10, 8]
