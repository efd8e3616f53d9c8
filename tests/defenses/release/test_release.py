"""What the server does to a model before its release: fine-tuning, and the pruning of idle units."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from fedsec.api import Layout, ParameterInfo, ReleaseView, Role, Sample, TrainingSettings
from fedsec.defenses.release.neuron_pruning import NeuronPruning, idle_first, pruned
from fedsec.defenses.release.server_finetune import ServerFinetune

LORA = (
    ParameterInfo("q.lora_A.default.weight", (3, 4), Role.ADAPTER, 0, "A", Role.QUERY),
    ParameterInfo("q.lora_B.default.weight", (2, 3), Role.ADAPTER, 0, "B", Role.QUERY),
    ParameterInfo("classifier.weight", (2, 4), Role.HEAD),
)
OWN = (Sample("clean", 0), Sample("rows", 1))


def _layout(*infos: ParameterInfo) -> Layout:
    offsets, size = [], 0
    for info in infos:
        offsets.append(size)
        size += info.shape[0] * info.shape[1]
    return Layout(infos, tuple(offsets), size)


class _Server:
    """Notes the training that it is asked for, which adds 1 to every parameter; is right while units 0 and 2 live."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.asked, self.tried = layout, list[dict[str, Any]](), list[list[int]]()

    def train(self, samples: Sequence[Sample], start: torch.Tensor, **settings: Any) -> torch.Tensor:
        self.asked.append({"samples": samples, **settings})
        return start + 1

    def right(self, parameters: torch.Tensor) -> float:
        sent = self.layout.tensor(parameters, "q.lora_B.default.weight")
        alive = [unit for unit in range(3) if bool(sent[:, unit].any())]
        self.tried.append(alive)
        return 0.9 if {0, 2} <= set(alive) else 0.5

    def view(self) -> ReleaseView:
        return ReleaseView(
            layout=self.layout,
            training=TrainingSettings(update="delta", optimizer="sgd", learning_rate=0.1, local_steps=1, batch_size=1),
            classes=("no", "yes"),
            tokenizer=None,
            trusted=OWN,
            train=self.train,
            right=self.right,
            inputs=lambda _: {LORA[1].name: torch.tensor([0.5, 0.1, 0.3]), LORA[2].name: torch.ones(4)},
            generator=torch.Generator(),
        )


def test_the_server_trains_on_its_own_samples_by_a_schedule_of_its_own() -> None:
    server = _Server(_layout(*LORA))
    found = ServerFinetune(steps=7, learning_rate=0.5).on_release(torch.zeros(26), server.view())
    assert torch.equal(found, torch.ones(26))
    (asked,) = server.asked
    assert (asked["samples"], asked["steps"], asked["learning_rate"], asked["batch_size"]) == (OWN, 7, 0.5, None)


def test_idle_units_are_cut_out_until_accuracy_falls_and_stay_out() -> None:
    server = _Server(_layout(*LORA))
    found = NeuronPruning(group=0.3).on_release(torch.full((26,), 2.0), server.view())
    assert server.tried == [[0, 1, 2], [0, 2], [0]]  # least active first, and the last try is undone
    sent, entering = (server.layout.tensor(found, info.name) for info in (LORA[1], LORA[0]))
    assert sent.tolist() == [[3.0, 0.0, 3.0]] * 2
    assert entering[:, 0].tolist() == [3.0, 0.0, 3.0]
    assert bool((server.layout.tensor(found, "classifier.weight") == 3.0).all())


@pytest.mark.parametrize("group", [0.9, 1.0])
def test_all_units_but_one_are_tried_where_a_group_is_everything(group: float) -> None:
    server = _Server(_layout(*LORA))
    NeuronPruning(group=group, drop=1.0, steps=0).on_release(torch.full((26,), 2.0), server.view())
    assert server.tried == [[0, 1, 2], [0]]


def test_without_fine_tuning_the_rest_stays_as_it_is() -> None:
    server = _Server(_layout(*LORA))
    found = NeuronPruning(group=0.3, steps=0).on_release(torch.full((26,), 2.0), server.view())
    assert not server.asked
    assert int((found == 0).sum()) == 2 + 4
    assert int((found == 2).sum()) == 20


def test_without_adapters_the_units_are_those_that_feed_the_head() -> None:
    layout = _layout(ParameterInfo("classifier.weight", (2, 4), Role.HEAD))
    units = idle_first({"classifier.weight": torch.tensor([4.0, 1.0, 3.0, 1.0])}, layout)
    assert units == [("classifier.weight", unit) for unit in (1, 3, 2, 0)]
    found = layout.tensor(pruned(torch.ones(8), layout, units[:2]), "classifier.weight")
    assert found.tolist() == [[1.0, 0.0, 1.0, 0.0]] * 2
    other_way = _layout(ParameterInfo("head.weight", (4, 2), Role.HEAD, inputs_first=True))
    found = other_way.tensor(pruned(torch.ones(8), other_way, [("head.weight", 3)]), "head.weight")
    assert found.tolist() == [[1.0, 1.0]] * 3 + [[0.0, 0.0]]
    with pytest.raises(ValueError, match="needs trained LoRA factors"):
        idle_first({}, _layout(ParameterInfo("x", (2, 2), Role.OTHER)))
