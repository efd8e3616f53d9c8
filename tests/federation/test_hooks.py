"""Every hook of a round has a user here, and is seen acting: the doubles of fedsec.testing, and slow references."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import torch

from fedsec.api import (
    ClientView,
    ColluderView,
    Exchanged,
    Knowledge,
    Mixed,
    QueryView,
    RoundContext,
    Sample,
    StepView,
    Tokens,
)
from fedsec.errors import FedsecError
from fedsec.federation.plugins import Plugin, Stack
from fedsec.testing import doubles

from .support import CLIENTS, DELTA, GRADIENT, corpus, federation, final

ALL_STACKS = {
    "client-shrink": partial(doubles.ClientShrink, factor=0.25),
    "drop-largest": doubles.DropLargest,
    "take-turns": doubles.TakeTurns,
    "step-clip": partial(doubles.StepClip, norm=0.1),
    "central-noise": doubles.CentralNoise,
    "redact": doubles.Redact,
}


@pytest.mark.parametrize("make", ALL_STACKS.values(), ids=ALL_STACKS.keys())
def test_a_defense_changes_the_model(make: Callable[[], Any]) -> None:
    plain, defended = final(federation())[1], final(federation(stack=[Plugin("it", make)]))[1]
    assert not torch.equal(plain, defended)


@pytest.mark.parametrize("make", [doubles.IdealSum, doubles.IdealSealed], ids=["sum", "sealed"])
@pytest.mark.parametrize("attack", [None, Plugin("huge", partial(doubles.ClientShrink, factor=-1e4))])
def test_an_ideal_exchange_gives_the_mean_to_the_last_bit(make: Callable[[], Any], attack: Plugin | None) -> None:
    plain = final(federation(attack=attack))
    summed = final(federation(attack=attack, stack=[Plugin("it", make)]))
    assert torch.equal(plain[1], summed[1])
    assert summed[0].rounds[0].upload_bytes >= plain[0].rounds[0].upload_bytes


def test_a_half_sent_by_everybody_is_half_a_step() -> None:
    start = federation().model.values.clone()
    plain = final(federation(rounds=1))[1]
    half = final(federation(rounds=1, stack=[Plugin("it", doubles.ClientShrink)]))[1]
    assert torch.allclose(half - start, (plain - start) / 2, atol=1e-6)


def test_a_rule_with_memory_takes_clients_in_turn() -> None:
    outcome, _ = final(federation(rounds=CLIENTS + 2, stack=[Plugin("turns", doubles.TakeTurns)]))
    trusted = [summary.weights.index(1.0) for summary in outcome.rounds if summary.weights]
    assert trusted == [0, 1, 2, 3, 4, 0, 1]


def test_step_clip_bounds_every_local_step() -> None:
    rate, steps = DELTA.learning_rate, DELTA.local_steps
    stack = [Plugin("clip", partial(doubles.StepClip, norm=0.05))]
    outcome, _ = final(federation(rounds=1, stack=stack, observe=frozenset({1})))
    norms = outcome.observed[1].rows.norm(dim=1)
    assert bool((norms <= 0.05 * rate * steps * (1 + 1e-4)).all())
    assert bool((norms > 0.01 * rate).all())


@dataclass(frozen=True, slots=True)
class PerExampleMean:
    """The plain gradient, the long way round: the mean of the examples' own."""

    def on_step(self, view: StepView) -> torch.Tensor:
        each = view.example_gradients()
        assert each.shape == (3, len(view.parameters))
        return each.mean(dim=0)


@pytest.mark.parametrize("training", [DELTA, GRADIENT], ids=["delta", "gradient"])
def test_example_gradients_average_to_the_batchs(training: Any) -> None:
    plain = final(federation(training=training))
    long_way = final(federation(training=training, stack=[Plugin("mean", PerExampleMean)]))
    assert torch.allclose(plain[1], long_way[1], atol=1e-5)
    assert plain[0].rounds[0].loss == pytest.approx(long_way[0].rounds[0].loss, rel=1e-5)


@dataclass(frozen=True, slots=True)
class Times:
    """Multiplies what lies beneath, or adds to it; order matters."""

    factor: float
    plus: float = 0.0

    def on_step(self, view: StepView) -> torch.Tensor:
        return view.gradient() * self.factor + self.plus


def test_later_step_hooks_wrap_earlier_ones() -> None:
    def update(*hooks: Times) -> torch.Tensor:
        stack = [Plugin(f"times {i}", partial(Times, hook.factor, hook.plus)) for i, hook in enumerate(hooks)]
        outcome, _ = final(federation(training=GRADIENT, rounds=1, stack=stack, observe=frozenset({1})))
        return outcome.observed[1].rows

    plain = update()
    assert torch.allclose(update(Times(2.0), Times(1.0, 1.0)), 2 * plain + 1, atol=1e-6)
    assert torch.allclose(update(Times(1.0, 1.0), Times(2.0)), 2 * (plain + 1), atol=1e-6)


@dataclass(frozen=True, slots=True)
class WrongGradient:
    found: Any

    def on_step(self, view: StepView) -> Any:
        return self.found


@pytest.mark.parametrize("found", [None, torch.zeros(3), "text"], ids=["none", "short", "text"])
def test_a_step_hook_that_returns_no_gradient_is_named(found: Any) -> None:
    with pytest.raises(ValueError, match="wrong returned no fp32 gradient"):
        final(federation(stack=[Plugin("wrong", partial(WrongGradient, found))]))


def test_redacted_texts_are_trained_on_and_their_planted_data_stay_the_truth() -> None:
    one = federation(rounds=1, stack=[Plugin("redact", doubles.Redact)], observe=frozenset({1}))
    outcome, _ = final(one)
    secret = outcome.vault.secrets[1, 0]
    read = [one.tokenizer.decode(tokens) for tokens in secret.tokens]
    assert all("redacted" in text and not any(c.isdigit() for c in text) for text in read)
    assert all(planted[0].startswith("day ") for planted in secret.planted)


@dataclass(frozen=True, slots=True)
class ReturnsSamples:
    samples: Any

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> Any:
        return self.samples


@pytest.mark.parametrize("samples", [(), None, ["text"], ("text",)], ids=["none left", "None", "list", "texts"])
def test_a_data_hook_must_leave_something_to_train_on(samples: Any) -> None:
    with pytest.raises(FedsecError, match="at least one Sample"):
        final(federation(stack=[Plugin("wrong", partial(ReturnsSamples, samples))]))


def test_only_malicious_clients_train_on_flipped_labels() -> None:
    one = federation(rounds=1, attack=Plugin("flip", doubles.FlipLabels), observe=frozenset({1}))
    secrets = final(one)[0].vault.secrets
    plain = final(federation(rounds=1, observe=frozenset({1})))[0].vault.secrets
    assert [(label + 1) % 6 for label in plain[1, 0].labels] == list(secrets[1, 0].labels)
    assert all(plain[1, client].labels == secrets[1, client].labels for client in range(1, CLIENTS))


@dataclass(frozen=True, slots=True)
class LooksAround:
    """A malicious client that takes part in three steps and notes which views it gets."""

    notes: list[Any]

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> tuple[Sample, ...]:
        assert isinstance(view, ColluderView)
        view.blackboard["seen"] = view.blackboard.get("seen", 0) + 1
        self.notes.append(("data", view.client, tuple(view.own_rows.shape), view.colluders))
        return samples

    def on_step(self, view: StepView) -> torch.Tensor:
        assert isinstance(view.client, ColluderView)
        self.notes.append(("step", view.client.client, view.step, view.client.blackboard["seen"]))
        return view.gradient()


def test_a_malicious_client_shares_its_blackboard_in_every_step() -> None:
    notes: list[Any] = []
    plugin = Plugin("looks", partial(LooksAround, notes))
    changed = final(federation(rounds=1, attack=plugin, malicious=frozenset({1, 3})))[1]
    assert [note[:2] for note in notes] == [
        ("data", 1), ("data", 3), ("step", 1), ("step", 1), ("step", 3), ("step", 3)
    ]  # fmt: skip
    assert notes[0][2][0] == 0
    assert notes[0][3] == (1, 3)
    assert notes[-1][3] == 2
    assert torch.equal(changed, final(federation(rounds=1))[1]), "looking changes nothing"


def test_a_malicious_server_alters_what_clients_receive() -> None:
    one = federation(rounds=1, server=Plugin("blank", doubles.BlankServer), observe=frozenset({1}))
    observed = final(one)[0].observed[1]
    assert observed.started is not None
    assert observed.started.shape == observed.rows.shape
    moved = observed.started - observed.start
    assert bool((moved[:, -1] == 1.0).all())
    assert int(moved[:, :-1].count_nonzero()) == 0
    honest = final(federation(rounds=1, observe=frozenset({1})))[0].observed[1]
    assert not torch.equal(observed.rows, honest.rows)


@dataclass(frozen=True, slots=True)
class Broadcasts:
    what: Any

    def on_broadcast(self, parameters: torch.Tensor, view: Any) -> Any:
        return self.what


@pytest.mark.parametrize("what", [None, torch.zeros(2), "model"], ids=["none", "short", "text"])
def test_a_server_that_sends_no_model_is_named(what: Any) -> None:
    with pytest.raises(ValueError, match="bad must broadcast finite fp32 parameters"):
        final(federation(server=Plugin("bad", partial(Broadcasts, what))))


def test_a_query_filter_stands_before_the_released_model_only() -> None:
    plain = final(federation(rounds=3))
    filtered = final(federation(rounds=3, stack=[Plugin("filter", doubles.QueryFilter)]))
    assert torch.equal(plain[1], filtered[1])
    assert plain[0].curve == filtered[0].curve
    assert plain[0].final.loss != filtered[0].final.loss


@dataclass(frozen=True, slots=True)
class PassesOn:
    def on_query(
        self, queries: tuple[Tokens, ...], answer: Callable[[tuple[Tokens, ...]], list[torch.Tensor]], view: QueryView
    ) -> list[torch.Tensor]:
        return [answer((query,))[0] for query in queries]


def test_a_query_hook_that_passes_on_leaves_the_evaluation_as_it_is() -> None:
    plain = final(federation(rounds=1))[0].final
    passed = final(federation(rounds=1, stack=[Plugin("passes", PassesOn)]))[0].final
    assert (plain.correct == passed.correct).all()
    assert plain.loss == pytest.approx(passed.loss, rel=1e-5)


@dataclass(frozen=True, slots=True)
class BadAnswers:
    answers: Any

    def on_query(self, queries: tuple[Tokens, ...], answer: Any, view: QueryView) -> Any:
        return self.answers


@pytest.mark.parametrize("answers", [None, [], torch.zeros(10)], ids=["none", "empty", "tensor"])
def test_a_query_hook_must_answer_every_query(answers: Any) -> None:
    with pytest.raises(ValueError, match="one answer for each"):
        final(federation(stack=[Plugin("bad", partial(BadAnswers, answers))]))


@dataclass(frozen=True, slots=True)
class NaNs:
    def on_aggregate(self, vector: torch.Tensor, context: RoundContext) -> torch.Tensor:
        return vector * torch.nan


def test_what_acts_on_the_aggregate_must_stay_finite() -> None:
    with pytest.raises(ValueError, match="nans returned NaN"):
        final(federation(stack=[Plugin("nans", NaNs)]))


def test_central_noise_has_its_standard_deviation() -> None:
    start = federation().model.values.clone()
    plain = final(federation(rounds=1))[1] - start
    noisy = final(federation(rounds=1, stack=[Plugin("noise", partial(doubles.CentralNoise, scale=0.1))]))[1] - start
    assert float((noisy - plain).std()) == pytest.approx(0.1, rel=0.02)


def test_an_exchange_beside_a_rule_is_refused() -> None:
    with pytest.raises(FedsecError, match="turns needs single rows, which sum hides"):
        Stack((Plugin("sum", doubles.IdealSum), Plugin("turns", doubles.TakeTurns)))
    with pytest.raises(FedsecError, match="holds one exchange"):
        Stack((Plugin("sum", doubles.IdealSum), Plugin("sealed", doubles.IdealSealed)))


@dataclass(frozen=True, slots=True)
class HalfAMemory:
    def on_update(self, update: Any, view: ClientView) -> Any:
        return update

    def state(self) -> dict[str, Any]:
        return {}


def test_a_plugin_with_half_a_memory_is_refused() -> None:
    with pytest.raises(FedsecError, match=r"both state\(\) and load_state\(\)"):
        federation(stack=[Plugin("half", HalfAMemory)])


def test_samples_keep_prompt_and_origin() -> None:
    seen: list[Sample] = []

    @dataclass(frozen=True, slots=True)
    class Notes:
        def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> tuple[Sample, ...]:
            seen.extend(samples)
            return tuple(replace(sample, origin=None) for sample in samples)

    one = federation(rounds=1, stack=[Plugin("notes", Notes)], observe=frozenset({1}))
    outcome, _ = final(one)
    texts = [example.text for example in corpus().train]
    assert [seen[i].text for i in range(5)] == texts[:5]
    assert [sample.origin for sample in seen[:5]] == [0, 1, 2, 3, 4]
    assert outcome.vault.secrets[1, 0].planted[0] == (), "an invented text has nothing planted"


@dataclass(slots=True)
class OneBuffer:
    """A server that sends every client another model in one and the same tensor."""

    buffer: torch.Tensor | None = None

    def on_broadcast(self, parameters: torch.Tensor, view: Any) -> torch.Tensor:
        if self.buffer is None:
            self.buffer = parameters.clone()
        self.buffer.copy_(parameters)
        self.buffer[-1] += view.client
        return self.buffer


def test_what_a_server_sends_is_kept_apart_from_its_buffers() -> None:
    observed = final(federation(rounds=1, server=Plugin("one", OneBuffer), observe=frozenset({1})))[0].observed[1]
    assert observed.started is not None
    moved = observed.started[:, -1] - observed.start[-1]
    assert moved.tolist() == pytest.approx([0, 1, 2, 3, 4], abs=1e-5)


@dataclass(frozen=True, slots=True)
class SharesATensor:
    """Malicious clients that all return one tensor, written to by each in turn."""

    tensor: torch.Tensor

    def on_update(self, update: Any, view: ClientView) -> Any:
        self.tensor.fill_(view.client)
        return replace(update, vector=self.tensor)


def test_colluders_that_share_a_tensor_send_what_each_left_in_it() -> None:
    one = federation(rounds=1)
    attack = Plugin("shares", partial(SharesATensor, torch.zeros(one.model.layout.size)))
    one = federation(rounds=1, attack=attack, malicious=frozenset({1, 2}), observe=frozenset({1}))
    rows = final(one)[0].observed[1].rows
    assert bool((rows[1] == 1).all())
    assert bool((rows[2] == 2).all())


@dataclass(frozen=True, slots=True)
class ForgesAndNotes:
    """Malicious clients that send ones, and note what each of them trained."""

    notes: list[torch.Tensor]

    def on_update(self, update: Any, view: ClientView) -> Any:
        assert isinstance(view, ColluderView)
        self.notes.append(view.own_rows)
        return replace(update, vector=torch.ones_like(update.vector))


def test_colluders_see_what_each_trained_whatever_was_sent_before() -> None:
    notes: list[torch.Tensor] = []
    one = federation(rounds=1, attack=Plugin("forges", partial(ForgesAndNotes, notes)), malicious=frozenset({1, 2}))
    final(one)
    assert torch.equal(*notes)
    assert not bool((notes[1] == 1).any())


@dataclass(frozen=True, slots=True)
class SumsBenign:
    """A malicious client that notes, in two steps, what it is told of the others."""

    notes: list[Any]

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> tuple[Sample, ...]:
        assert isinstance(view, ColluderView)
        self.notes.append(("data", Knowledge.BENIGN_UPDATES in view.granted))
        return samples

    def on_update(self, update: Any, view: ClientView) -> Any:
        assert isinstance(view, ColluderView)
        self.notes.append(("update", len(view.granted[Knowledge.BENIGN_UPDATES])))
        return update


def test_benign_updates_are_this_rounds_or_none() -> None:
    notes: list[Any] = []
    one = federation(rounds=2, attack=Plugin("sums", partial(SumsBenign, notes)), malicious=frozenset(range(CLIENTS)))
    assert one.adversary is not None
    one.adversary = replace(one.adversary, grants_benign_updates=True)
    final(one)
    assert {note for note in notes if note[0] == "data"} == {("data", False)}
    assert {note for note in notes if note[0] == "update"} == {("update", 0)}


@pytest.mark.parametrize("make", [doubles.DropLargest, doubles.IdealSum], ids=["filter", "exchange"])
def test_a_precondition_is_checked_in_every_round(make: Callable[[], Any]) -> None:
    plugin = Plugin("it", make, lambda p: None if p.clients >= 6 else f"it needs 6 clients, has {p.clients}")
    one = federation(rounds=1, stack=[plugin])
    start = one.model.values.clone()
    outcome, values = final(one)
    assert outcome.rounds[0].skipped == "it needs 6 clients, has 5"
    assert torch.equal(start, values)


@dataclass(frozen=True, slots=True)
class GivesUp:
    def exchange(self, rows: torch.Tensor, weights: torch.Tensor, context: RoundContext) -> Exchanged:
        return Exchanged(None, upload_bytes=77, skipped="too few answered")


def test_an_exchange_may_give_up_and_its_bytes_still_count() -> None:
    one = federation(rounds=1, stack=[Plugin("gives up", GivesUp)])
    start = one.model.values.clone()
    outcome, values = final(one)
    assert (outcome.rounds[0].skipped, outcome.rounds[0].upload_bytes) == ("too few answered", 77)
    assert torch.equal(start, values)


@dataclass(frozen=True, slots=True)
class Scales:
    def mix(self, rows: Any, context: RoundContext) -> Mixed:
        mixing = torch.eye(len(rows), dtype=torch.float64)
        mixing[0] *= 0.1
        return Mixed(mixing, 0)


def test_a_scaled_row_stands_for_one_row() -> None:
    weights = final(federation(rounds=1, stack=[Plugin("scales", Scales)]))[0].rounds[0].weights
    assert weights == pytest.approx((0.02, 0.2, 0.2, 0.2, 0.2))
    claims = [5, 10, 10, 15, 10]
    one = federation(rounds=1, stack=[Plugin("scales", Scales)], weighting="examples")
    expected = [claim / 50 * (0.1 if client == 0 else 1) for client, claim in enumerate(claims)]
    assert final(one)[0].rounds[0].weights == pytest.approx(tuple(expected))
