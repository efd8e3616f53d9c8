"""What an attack is handed is what crossed the wire, whatever defense is in place."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch

from fedsec import registry
from fedsec.api import AUTHORITY, SERVER, Aggregation, RoundView
from fedsec.cell.evidence import Looked, round_view, secrets_of
from fedsec.cell.resources import Resources
from fedsec.cell.training import Trained, train
from fedsec.config.load import load_scenario
from fedsec.federation import sending, session
from fedsec.federation.transcript import Observed
from fedsec.plan.cells import Cell, expand
from fedsec.testing import canned, doubles
from fedsec.wire.channel import Channel
from fedsec.wire.codec import HEADER_BYTES, decode

from ..defenses.secure_aggregation.support import reachable

CLIENTS = 8
NEEDS = {
    "dp-lora": ["model.tuning={kind: lora, rank: 16}"],
    "fltrust": ["data.trusted=8"],
    "zeno": ["data.trusted=8"],
    "onion-sanitiser": ["data.language_model={name: canned-public, rows: 30, training_steps: 5}"],
}
NOISY = {"epsilon": 0.0, "noise_multiplier": 1.0}
QUICK = {"dp-lora": NOISY, "dp-sgd": NOISY, "crfl": {"copies": 5}}
"""Parameters that leave out what takes long and is not asked about: calibrating noise, certifying answers."""
RESOURCES = Resources()


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    with doubles.registered(), canned.registered():
        yield


class Sent(NamedTuple):
    """What left the clients of the attacked round, noted where it did."""

    updates: dict[int, torch.Tensor]
    """By client, as the server takes them up: decoded from the bytes where these are not plain fp32."""
    sizes: dict[int, int | None]
    """Bytes of each message; None for plain fp32."""
    said: list[bytes]
    """What the parties of a protocol said to each other, in turn."""


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """Notes what crosses the wire; updates that are encoded are noted as bytes, and decoded here once more."""
    noted, written, arrives, seal = Sent({}, {}, []), [], session.delivered, Channel.seal

    def encode(vector: torch.Tensor, encoding: Any, layout: Any, real: Any = sending.encode) -> bytes | None:
        content: bytes | None = real(vector, encoding, layout)
        if content is not None:
            written.append((content, encoding, layout))
        return content

    def delivered(number: int, messages: Any, *others: Any, **named: Any) -> Any:
        encoded = iter(written)
        for one in messages:
            content = next(encoded) if one.size is not None else None
            assert content is None or one.size == HEADER_BYTES + len(content[0])
            noted.updates[one.client] = one.payload.clone() if content is None else decode(*content)
            noted.sizes[one.client] = one.size
        return arrives(number, messages, *others, **named)

    def sealed(self: Channel, stage: int, sender: int, receiver: int, content: bytes) -> bytes:
        noted.said.append(content)
        return seal(self, stage, sender, receiver, content)

    monkeypatch.setattr(sending, "encode", encode)
    monkeypatch.setattr(session, "delivered", delivered)
    monkeypatch.setattr(Channel, "seal", sealed)
    return noted


def _cell(attack: str, name: str, params: dict[str, Any]) -> Cell:
    scenario: dict[str, Any] = {
        "schema": 1,
        "name": "test/what-was-sent",
        "summary": "What is an attack handed?",
        "model": {"name": "tiny-bert", "tuning": {"kind": "full"}, "width": 16, "layers": 1, "dropout": False},
        "data": {"name": "canned-words", "train": 40, "test": 10, "max_tokens": 16},
        "federation": {"clients": CLIENTS, "rounds": 1, "batch_size": 2, "learning_rate": 0.1, "update": "gradient"},
        "threat": {"declared_malicious": 1},
        "matrix": {"attack": [attack], "defense": [{"name": name, **params}]},
    }
    cells = expand(load_scenario(scenario, NEEDS.get(name, [])))
    return next(cell for cell in cells if cell.attack.name == attack and cell.defense)


def _handed(cell: Cell) -> tuple[RoundView, Observed, Trained]:
    trained = train(cell, frozenset({1}), RESOURCES, lambda _: None)
    observed = trained.outcome.observed[1]
    return round_view(cell, trained.around, observed, secrets_of(cell, trained)[1], Looked()), observed, trained


def _of_ours(kind: Aggregation) -> list[str]:
    cards = [card for card in registry.defenses() if card.target.startswith("fedsec.defenses.")]
    return [card.name for card in cards if card.aggregation == kind]


@pytest.mark.parametrize("name", _of_ours(Aggregation.PLAIN))
def test_rows_are_the_updates_that_were_sent(name: str, sent: Sent) -> None:
    view, observed, _ = _handed(_cell("server-reads-rows", name, QUICK.get(name, {})))
    assert view.rows is not None
    assert view.clients == tuple(sent.updates) == tuple(range(CLIENTS))
    for row, update in zip(view.rows, sent.updates.values(), strict=True):
        assert torch.equal(row, update)
    if name in ("quantization", "gradient-pruning"):
        assert None not in sent.sizes.values()
        assert observed.upload_bytes == max(size for size in sent.sizes.values() if size is not None)
    else:
        assert set(sent.sizes.values()) == {None}


@pytest.mark.parametrize("name", _of_ours(Aggregation.SECURE))
def test_a_masked_sum_follows_from_the_messages_alone(name: str, sent: Sent) -> None:
    """A server that has nothing but what the view shows, in this order, comes to the view's sum."""
    from fedsec.defenses.secure_aggregation.keys import Directory
    from fedsec.defenses.secure_aggregation.secagg.secagg import MODULUS, threshold_of
    from fedsec.defenses.secure_aggregation.secagg.server import Server
    from fedsec.defenses.secure_aggregation.secagg.terms import Terms
    from fedsec.maths.fixed_point import FixedPoint

    view, observed, trained = _handed(_cell("server-reads-sum", name, {}))
    assert view.rows is None
    assert [message.content for message in view.messages] == sent.said
    assert trained.stack.exchange is not None
    _, plugin = trained.stack.exchange
    terms = Terms(
        session=view.messages[0].content,
        invited=view.cohort,
        threshold=threshold_of(CLIENTS, plugin.threshold),
        neighbours=getattr(plugin, "neighbours", None),
        words=observed.rows.shape[1],
        directory=Directory({client: one.public for client, one in plugin._identities.items()}),
    )
    server = Server(terms)
    for stage, word in enumerate(server.stages):
        server.requests(stage)
        arrived = [m for m in view.messages if m.stage == word and m.receiver == SERVER]
        server.collect(stage, {message.sender: message.content for message in arrived})
    number = FixedPoint(range=plugin.range, terms=CLIENTS, modulus=MODULUS)
    assert view.aggregate is not None
    assert torch.equal(view.aggregate, number.decode(number.centred(server.total), CLIENTS))


@pytest.mark.parametrize("keys", ["authority", "shared"])
@pytest.mark.parametrize("name", _of_ours(Aggregation.HOMOMORPHIC))
def test_a_sum_under_encryption_follows_from_the_ciphertexts_alone(name: str, keys: str, sent: Sent) -> None:
    """Who has the key, and nothing but what the view shows, comes to the sum that the key's holder is shown."""
    from fedsec.defenses.secure_aggregation.homomorphic.parties import _unpacked
    from fedsec.defenses.secure_aggregation.homomorphic.seal import add, load
    from fedsec.defenses.secure_aggregation.keys import SIGNATURE_BYTES

    params = {"keys": keys, "range": 1.0, **({"flooding": 0} if name == "he-ckks" else {})}
    view, observed, trained = _handed(_cell("server-reads-sum", name, params))
    assert (view.rows, view.aggregate, view.model.module) == (None, None, None)
    assert [message.content for message in view.messages] == sent.said
    assert trained.stack.exchange is not None
    kept = trained.stack.exchange[1]._kept
    assert reachable(trained.stack, type(kept.pair))
    assert not reachable(view, type(kept.pair))
    uploads = {m.sender: m.content for m in view.messages if m.stage == "encrypt" and m.receiver == SERVER}
    handed_on = [m.content for m in view.messages if m.receiver == AUTHORITY]
    assert [_unpacked(content) for content in handed_on] == ([uploads] if keys == "authority" else [])
    size = observed.rows.shape[1]
    total, *others = sealed = [load(kept.scheme, content[SIGNATURE_BYTES:], size) for content in uploads.values()]
    for one in others:
        total = add(kept.scheme, total, one)
    found = torch.from_numpy(kept.pair.open(total, size)).double()
    scale = 1.0 if name == "he-ckks" else float(((kept.scheme.modulus - 1) // 2) // CLIENTS)
    singles = [torch.from_numpy(kept.pair.open(one, size) * (1 / scale)).float() for one in sealed]
    assert torch.equal(torch.stack(singles), observed.rows)
    assert len(uploads) == CLIENTS
    assert torch.allclose(found / scale / CLIENTS, observed.aggregate.double(), rtol=0, atol=1e-8)
