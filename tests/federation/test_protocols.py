"""Protocols inside a round: what comes of them, who is in the sum, what is recorded, and parties that lie."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from fedsec.api import (
    AUTHORITY,
    SERVER,
    BroadcastView,
    ColluderView,
    Encoding,
    Layout,
    Message,
    ParameterInfo,
    Role,
    Update,
)
from fedsec.defenses.secure_aggregation.secagg.secagg import SecAgg
from fedsec.defenses.secure_aggregation.secagg.secagg_plus import SecAggPlus
from fedsec.defenses.update.gradient_pruning import GradientPruning
from fedsec.defenses.update.quantization import Quantization
from fedsec.federation.availability import Availability, AvailabilitySettings
from fedsec.federation.measurements import Measurements
from fedsec.federation.plugins import Plugin
from fedsec.federation.rounds import RoundStore
from fedsec.federation.sending import Sender
from fedsec.federation.transcript import Observed
from fedsec.maths.fixed_point import FixedPoint
from fedsec.seeds import SeedTree

from .support import CLIENTS, federation, final

SECAGG = Plugin("secagg", SecAgg)


def _first(**settings: Any) -> Observed:
    return final(federation(rounds=1, observe=frozenset({1}), **settings))[0].observed[1]


@pytest.mark.parametrize("weighting", ["uniform", "examples"])
@pytest.mark.parametrize("make", [SecAgg, lambda: SecAggPlus(neighbours=2)], ids=["all", "graph"])
def test_the_sum_is_the_integer_sum_of_the_updates(make: Callable[[], Any], weighting: str) -> None:
    plain, masked = _first(weighting=weighting), _first(stack=[Plugin("it", make)], weighting=weighting)
    assert torch.equal(plain.rows, masked.rows)
    assert masked.weights is not None
    assert torch.allclose(plain.weights, masked.weights)  # type: ignore[arg-type]
    number = FixedPoint(range=8.0, terms=CLIENTS, modulus=2**32)
    shares = (masked.weights / masked.weights.max()).tolist()
    total = sum(number.encode(row, share).values for row, share in zip(masked.rows, shares, strict=True))
    assert torch.equal(masked.aggregate, number.decode(total, sum(shares)))
    assert (masked.aggregate - plain.aggregate).abs().max() < 2 * number.step


def test_clients_leave_at_any_stage_and_the_weights_are_of_those_that_stayed() -> None:
    lenient = Plugin("secagg", lambda: SecAgg(threshold=0.5))
    availability = AvailabilitySettings(protocol_drop_out=0.08)
    outcome, _ = final(federation(rounds=6, stack=[lenient], weighting="examples", availability=availability))
    absent = [one for summary in outcome.rounds for one in summary.absent]
    assert {one.reason.split("'")[0] for one in absent} == {"left before the stage "}
    enrolled = (5, 10, 10, 15, 10)
    for summary in outcome.rounds:
        if summary.skipped is None:
            assert summary.weights == pytest.approx(
                [enrolled[c] / sum(enrolled[i] for i in summary.clients) for c in summary.clients]
            )
        else:
            assert "the threshold is 3" in summary.skipped
    assert any(len(summary.clients) < CLIENTS for summary in outcome.rounds if summary.skipped is None)
    assert any("mask" in one.reason for one in absent)


def test_only_clients_leave_a_protocol() -> None:
    unreliable = Availability(AvailabilitySettings(protocol_drop_out=0.9), 3, SeedTree(0))
    assert not any(unreliable.leaves(1, stage, party) for stage in range(5) for party in (SERVER, AUTHORITY))
    assert any(unreliable.leaves(1, 0, client) for client in range(5))


@dataclass(frozen=True, slots=True)
class Wild:
    def on_update(self, update: Update, view: ColluderView) -> Update:
        vector = torch.full_like(update.vector, 1e30)
        vector[0] = float("nan")
        return Update(vector, 10**9)


def test_wild_values_saturate_at_the_encoder_and_are_counted() -> None:
    one = federation(rounds=1, stack=[SECAGG], attack=Plugin("wild", Wild), observe=frozenset({1}))
    outcome, values = final(one)
    assert outcome.rounds[0].rejected == ()
    assert bool(values.isfinite().all())
    others = _first(stack=[SECAGG]).rows[1:]
    expected = (8.0 + others.sum(dim=0)) / CLIENTS
    assert torch.allclose(outcome.observed[1].aggregate[1:], expected[1:], atol=1e-6)
    assert outcome.rounds[0].measurements["secagg/saturated"] == pytest.approx(1 / CLIENTS)


def test_what_was_said_is_kept_as_it_crossed_the_wire(tmp_path: Any) -> None:
    seen = _first(stack=[SECAGG])
    kinds = {(message.stage, message.receiver == SERVER) for message in seen.messages}
    assert kinds == {(s, to) for s in ("advertise", "share", "mask", "agree", "unmask") for to in (True, False)}
    masked = [m.content for m in seen.messages if m.stage == "mask" and m.receiver == SERVER]
    words = [np.frombuffer(content, dtype="<u4").astype(np.int64) for content in masked]
    assert len(masked) == CLIENTS
    for row, masked_row in zip(seen.rows.numpy(), words, strict=True):
        assert abs(np.corrcoef(row, masked_row)[0, 1]) < 0.1
    sent = [sum(28 + len(m.content) for m in seen.messages if m.sender == client) for client in range(CLIENTS)]
    assert seen.upload_bytes == max(sent)
    store = RoundStore(tmp_path / "kept")
    store.keep(seen)
    assert store[1].messages == seen.messages
    (tmp_path / "kept" / "1.messages").write_bytes(b"less")
    with pytest.raises(ValueError, match="messages is not as long"):
        store[1]


@dataclass(slots=True)
class Lies:
    """Says something else in a stage."""

    stage: str
    views: list[Any] = field(default_factory=list)

    def on_message(self, message: Message, view: ColluderView | BroadcastView) -> bytes:
        self.views.append(view)
        if message.stage != self.stage:
            return message.content
        return message.content[:-1] + b"?" if self.stage == "mask" else message.content[1:]


def test_a_client_that_lies_is_left_out_or_changes_its_own_words_alone() -> None:
    honest = _first(stack=[SECAGG]).rows
    for stage in ("advertise", "share", "agree"):
        seen = _first(stack=[SECAGG], attack=Plugin("lies", lambda stage=stage: Lies(stage)))  # type: ignore[misc]
        rows = honest if stage == "agree" else honest[1:]
        assert torch.allclose(seen.aggregate, rows.mean(dim=0), atol=1e-7)
    seen = _first(stack=[SECAGG], attack=Plugin("lies", lambda: Lies("mask")))
    assert torch.allclose(seen.aggregate[:-1], honest.mean(dim=0)[:-1], atol=1e-7)


@pytest.mark.parametrize(("stage", "rejected"), [("advertise", True), ("unmask", False)])
def test_a_client_that_breaks_the_protocol_is_recorded_with_what_it_did(stage: str, rejected: bool) -> None:
    outcome, _ = final(federation(rounds=1, stack=[SECAGG], attack=Plugin("lies", lambda: Lies(stage))))
    one = outcome.rounds[0]
    assert one.skipped is None
    assert [each.client for each in one.rejected] == ([0] if rejected else [])
    assert [each.client for each in one.absent] == ([] if rejected else [0])
    assert one.clients == tuple(range(CLIENTS))
    assert one.weights is not None
    assert len(one.weights) == CLIENTS - rejected
    (said,) = one.rejected + one.absent
    assert said.reason.startswith("its keys are not signed" if rejected else "a list of fields breaks off")


def test_a_round_that_is_refused_before_a_message_counts_no_upload() -> None:
    none = Plugin("secagg", SecAgg, precondition=lambda people: f"{people.clients} are too few")
    one = final(federation(rounds=1, stack=[none]))[0].rounds[0]
    assert (one.skipped, one.upload_bytes) == (f"{CLIENTS} are too few", 0)


def test_encodings_by_which_nothing_can_be_written_are_written_plainly() -> None:
    layout = Layout((ParameterInfo("t", (3,), Role.OTHER),), (0,), 3)
    steps: list[Any] = [None, ("x",), (None,), ((0.5, 0.5),), (10**400,), 5, (1.0, 1.0)]
    for encoding in [*(Encoding(bits=8, steps=each) for each in steps), Encoding(bits=None), Encoding(bits=8.0)]:  # type: ignore[arg-type]
        sender = Sender([1], Nobody(layout), Measurements())  # type: ignore[arg-type]
        message = sender._message(0, Update(torch.ones(3), 1, encoding))
        assert torch.equal(message.payload, torch.ones(3))
        assert message.size is None


class Nobody(NamedTuple):
    """All that a sender asks of its clients before it encodes."""

    layout: Layout


def test_a_server_that_lies_makes_clients_stop() -> None:
    lies = Lies("unmask")
    outcome, _ = final(federation(rounds=1, stack=[SECAGG], server=Plugin("lies", lambda: lies)))
    assert outcome.rounds[0].skipped == "0 clients took part in the stage 'unmask', the threshold is 4"
    assert len(outcome.rounds[0].absent) == CLIENTS
    assert {view.client for view in lies.views} == set(range(CLIENTS))


def test_keys_of_the_operating_system_give_the_same_sum() -> None:
    seeded, secure = (_first(stack=[SECAGG], randomness=kind) for kind in ("seeded", "secure"))
    again = _first(stack=[SECAGG])
    assert torch.equal(seeded.aggregate, secure.aggregate)
    assert seeded.messages == again.messages
    assert seeded.messages[-1] != secure.messages[-1]


@pytest.mark.parametrize(
    ("make", "share"),
    [
        (lambda: Quantization(bits=8), 1 / 4),
        (lambda: Quantization(bits=1), 1 / 32),
        (lambda: GradientPruning(keep=0.1), 0.14),
    ],
)
def test_fewer_bits_and_entries_are_fewer_bytes(make: Callable[[], Any], share: float) -> None:
    sent = final(federation(rounds=1, stack=[Plugin("it", make)]))[0].rounds[0].upload_bytes
    plain = final(federation(rounds=1))[0].rounds[0].upload_bytes
    assert sent < 1.1 * share * plain
