"""Homomorphic aggregation: exact sums, who can decrypt what, and ciphertexts of all kinds of malice."""

import hashlib
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tenseal.sealapi as seal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.api import (
    AUTHORITY,
    SERVER,
    ExchangeContext,
    Exchanged,
    Layout,
    Message,
    ParameterInfo,
    Refused,
    Role,
    TrainingSettings,
)
from fedsec.defenses.secure_aggregation.homomorphic.he_bfv import HEBFV, packed, unpacked
from fedsec.defenses.secure_aggregation.homomorphic.he_ckks import HECKKS, error_of, normal, scale_bits
from fedsec.defenses.secure_aggregation.homomorphic.parties import STAGES, Authority, Client, Server, Terms
from fedsec.defenses.secure_aggregation.homomorphic.seal import (
    BFV,
    CKKS,
    KeyPair,
    add,
    dump,
    load,
    public_lock,
    seal_values,
)
from fedsec.defenses.secure_aggregation.keys import Directory, Identity
from fedsec.maths.fixed_point import FixedPoint
from fedsec.privacy.keystream import KeyStream
from fedsec.wire.protocol import InProcessWire

from .support import KINDS, Secrets, alter, network, reachable

WORDS = 30


@pytest.fixture(scope="module")
def bfv() -> BFV:
    return BFV(30)


@pytest.fixture(scope="module")
def pair(bfv: BFV) -> KeyPair:
    return KeyPair(bfv)


def _context(clients: int, size: int, wire: InProcessWire, number: int = 1) -> ExchangeContext:
    return ExchangeContext(
        round=number,
        clients=tuple(range(clients)),
        examples=(1,) * clients,
        declared_malicious=0,
        layout=Layout((), (), size),
        training=TrainingSettings(
            update="delta", optimizer="sgd", learning_rate=1.0, local_steps=1, batch_size=1, rounds=10
        ),
        global_parameters=torch.zeros(size),
        generator=torch.Generator(),
        wire=wire,
        secrets=wire.secrets,
        lasting=wire.lasting,
        seeded=wire.seeded,
    )


def _wire(**settings: Any) -> InProcessWire:
    return InProcessWire(**{"secrets": Secrets(), "lasting": Secrets(0, 0), "seeded": False, **settings})


def _exchange(plugin: Any, rows: torch.Tensor, weights: torch.Tensor, **wire: Any) -> Exchanged:
    context = _context(len(rows), rows.shape[1], _wire(**wire))
    done = plugin.exchange(rows, weights, context).value
    assert isinstance(done, Exchanged)
    return done


KINDS_OF_SUMS = [("shared", 1, 4), ("authority", 1, 4), ("shared", 2, 16), ("authority", 2, 12)]


def _exact(keys: str, fields: int, clients: int, trials: int) -> None:
    plugin = HEBFV(keys=keys, fields=fields, range=1.0)
    for seed in range(trials):
        drawn = np.random.default_rng(seed)
        rows = torch.from_numpy(drawn.normal(0, 0.6, (clients, 41)).astype(np.float32))
        rows[:, 0], rows[0, 1] = 1e9, float("nan")  # everybody at the limit
        weights = torch.from_numpy(drawn.integers(1, 9, clients).astype(np.float64))
        gone = drawn.permutation(clients)[: drawn.integers(int(0.3 * clients) + 1)]
        stage = {int(client): int(drawn.integers(len(STAGES))) for client in gone}
        done = _exchange(plugin, rows, weights, leaves=lambda at, client, stage=stage: stage.get(client) == at)
        assert done.clients == tuple(client for client in range(clients) if stage.get(client) != 0)
        _check_sum(plugin, rows, weights, done)


def _number(plugin: HEBFV, clients: int) -> FixedPoint:
    scheme = plugin._kept.scheme
    assert isinstance(scheme, BFV)
    field = scheme.modulus if plugin.fields == 1 else 1 << ((scheme.modulus.bit_length() - 2) // 2 + 1)
    return FixedPoint(range=plugin.range, terms=clients, modulus=field)


def _check_sum(plugin: HEBFV, rows: torch.Tensor, weights: torch.Tensor, done: Exchanged) -> None:
    """The result is the integer sum of the clients that are said to be in it."""
    number, share = _number(plugin, len(rows)), (weights / weights.max()).tolist()
    assert done.clients is not None
    assert done.vector is not None
    total = sum(number.encode(rows[client], share[client]).values for client in done.clients)
    assert torch.equal(done.vector, number.decode(total, sum(share[client] for client in done.clients)))
    assert number.levels >= {"shared": 2**17 - 1, "authority": 2**14}[plugin.keys]


@pytest.mark.parametrize(("keys", "fields", "clients"), KINDS_OF_SUMS)
def test_sums_equal_the_integer_sum_bit_for_bit_whoever_drops_out(keys: str, fields: int, clients: int) -> None:
    _exact(keys, fields, clients, 2)


@pytest.mark.slow
@pytest.mark.parametrize(("keys", "fields", "clients"), KINDS_OF_SUMS)
def test_two_hundred_sums_equal_the_integer_sum(keys: str, fields: int, clients: int) -> None:
    _exact(keys, fields, clients, 50)


def _altered(trials: int) -> None:
    """A network alters messages; under an authority, a lying server or client does."""
    outcomes = set()
    for seed in range(trials):
        drawn, seen = np.random.default_rng(seed), []
        keys, liar = ("authority", "shared")[seed % 2], int(drawn.integers(SERVER, 4))
        kind = (*KINDS[:3], "extend")[int(drawn.integers(4))]

        def says(message: Message, liar: int = liar, kind: str = kind, seen: list[bytes] = seen) -> bytes:
            seen.append(message.content)
            return alter(message.content, kind, drawn, seen) if message.sender == liar else message.content  # noqa: B023

        plugin = HEBFV(keys=keys, range=1.0)
        rows = torch.from_numpy(drawn.normal(0, 0.6, (4, 20)).astype(np.float32))
        lies = {"says": says} if seed % 4 == 0 else {"carries": network(KINDS[seed % 4], drawn)}
        done = _exchange(plugin, rows, torch.ones(4, dtype=torch.float64), **lies)
        outcomes.add(done.skipped is None)
        if done.skipped is None:
            assert len(done.clients or ()) > 2
            _check_sum(plugin, rows, torch.ones(4, dtype=torch.float64), done)
    assert outcomes == {True, False}


def test_messages_that_are_altered_make_no_wrong_sum_of_ciphertexts() -> None:
    _altered(12)


@pytest.mark.slow
def test_hundreds_of_altered_messages_make_no_wrong_sum_of_ciphertexts() -> None:
    _altered(500)


@settings(max_examples=50, deadline=None)
@given(length=st.integers(1, 40), clients=st.integers(1, 20), bits=st.integers(8, 21), seed=st.integers(0, 2**32 - 1))
def test_two_fields_in_a_slot_never_run_into_each_other(length: int, clients: int, bits: int, seed: int) -> None:
    modulus, drawn = 1 << bits, np.random.default_rng(seed)
    most = (modulus - 1) // 2 // clients
    rows = drawn.integers(-most, most + 1, (clients, length)) if seed % 2 else np.full((clients, length), -most)
    slots = sum(packed(row, 2, modulus) for row in rows)
    assert np.array_equal(unpacked(slots, length, 2, modulus), rows.sum(axis=0))
    assert np.abs(slots).max() <= (modulus * modulus) // 2


@pytest.mark.parametrize("keys", ["authority", "shared"])
def test_ckks_is_as_exact_as_its_formula_and_flooded_where_others_read_it(keys: str) -> None:
    rows = torch.from_numpy(np.random.default_rng(0).normal(0, 0.5, (3, 9000)).astype(np.float32))
    mean, weights = rows.double().mean(dim=0), torch.ones(3, dtype=torch.float64)
    bits = scale_bits(8.0, 3)
    enough = {"authority": 20, "shared": 40}[keys]  # to stand out from fp32's own rounding
    for flooding, size in ((0, 1.0), (enough, (24 * 10) ** 0.5 * 2 ** (enough / 2))):
        done = _exchange(HECKKS(keys=keys, flooding=flooding), rows, weights)
        assert done.vector is not None
        off = (done.vector.double() - mean).std()
        if flooding:
            assert float(off) == pytest.approx(error_of(bits, 3, keys) / 3 * size, rel=0.1)
        else:
            assert float(off) < 2e-8  # fp32's own
    one, again = (_exchange(HECKKS(keys=keys), rows[:, :50], weights, seeded=True).vector for _ in range(2))
    assert torch.equal(one, again)  # type: ignore[arg-type]
    drawn = normal(KeyStream(bytes(32)), 20_000)
    assert abs(float(drawn.mean())) < 0.03
    assert float(drawn.std()) == pytest.approx(1.0, rel=0.03)


def test_overflow_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match="overflow: use a smaller range"):
        scale_bits(1e6, 10_000)
    with pytest.raises(ValueError, match="overflow"):
        FixedPoint(range=1.0, terms=2**18, modulus=1 << 19)
    said: list[Any] = []
    plugin = HECKKS(range=1e9)
    with pytest.raises(ValueError, match="overflow"):
        _exchange(plugin, torch.zeros(20, 3), torch.ones(20), says=lambda m: said.append(m) or m.content)
    assert said == []


def _round(bfv: BFV, pair: KeyPair, number: int = 1) -> tuple[Terms, dict[int, Client]]:
    identities = {client: Identity(Secrets(0, 0)("identity", client).bytes(32)) for client in range(4)}
    terms = Terms(
        session=Secrets(0, number)("session").bytes(16),
        invited=(0, 1, 2, 3),
        fewest=3,
        values=WORDS,
        shares=dict.fromkeys(range(4), 1.0),
        scheme=bfv,
        directory=Directory({client: one.public for client, one in identities.items()}),
    )
    lock = public_lock(bfv, pair.public)
    rows = {client: np.full(WORDS, client + 1) for client in range(4)}
    nothing = np.zeros(0, dtype=np.float32)
    return terms, {c: Client(c, rows[c], nothing, terms, identities[c], lock) for c in range(4)}


def _packed(sent: dict[int, bytes]) -> bytes:
    return b"".join(c.to_bytes(4, "little") + len(s).to_bytes(4, "little") + s for c, s in sent.items())


def test_the_authority_decrypts_no_sum_but_that_of_enough_signed_updates_and_once(bfv: BFV, pair: KeyPair) -> None:
    terms, clients = _round(bfv, pair)
    sent = {number: one.answer(0, terms.session) for number, one in clients.items()}
    old_terms, old = _round(bfv, pair, number=2)
    old_sent = {number: one.answer(0, old_terms.session) for number, one in old.items()}
    nothing = sent[0][:64] + public_lock_of_zeros(bfv, pair)
    enough = _packed({0: sent[0], 1: sent[1], 2: sent[2]})
    wrong = [
        (_packed({0: sent[0]}), "a sum of 1 updates is not decrypted"),
        (enough + _packed({0: sent[0]}), "each once"),
        (_packed({0: sent[0], 1: sent[0], 2: sent[0]}), "not signed"),
        (_packed({0: sent[0], 1: old_sent[1], 2: sent[2]}), "not signed"),
        (_packed({0: nothing, 1: sent[1], 2: sent[2]}), "not signed"),
        (_packed({0: sent[0], 1: sent[1], 9: sent[2]}), "not of this round"),
        (enough[:-1], "too short"),
    ]
    for content, reason in wrong:
        authority = Authority(terms, pair)
        with pytest.raises(Refused, match=reason):
            authority.answer(1, content)
        assert authority.opened is None
    authority = Authority(terms, pair)
    authority.answer(1, _packed({0: sent[0], 1: sent[1], 2: sent[2]}))
    assert authority.opened is not None
    assert authority.opened.tolist() == [6] * WORDS
    with pytest.raises(Refused, match="once"):  # with client 3 besides, the difference would be its update
        authority.answer(1, _packed(sent))


def test_a_ciphertext_of_noise_stops_the_round_and_makes_no_wrong_sum(bfv: BFV, pair: KeyPair) -> None:
    terms, clients = _round(bfv, pair)
    clients[2]._lock = KeyPair(bfv).lock()  # by another key
    with pytest.raises(Refused, match="more noise than it can hold"):
        Authority(terms, pair).answer(
            1, _packed({number: one.answer(0, terms.session) for number, one in clients.items()})
        )


def public_lock_of_zeros(bfv: BFV, pair: KeyPair) -> bytes:
    return seal_values(bfv, public_lock(bfv, pair.public), np.zeros(WORDS, dtype=np.int64))


def test_no_secret_key_is_reachable_from_the_server_or_a_client_under_an_authority(bfv: BFV, pair: KeyPair) -> None:
    """NVFlare's builder gives every client the one secret key."""
    terms, clients = _round(bfv, pair)
    server = Server(terms, authority=True)
    server.collect(0, {number: one.answer(0, terms.session) for number, one in clients.items()})
    assert reachable(Authority(terms, pair), seal.SecretKey)
    assert not reachable(server, seal.SecretKey)
    assert not any(reachable(one, seal.SecretKey) for one in clients.values())


def test_altered_ciphertexts_are_refused_or_change_nothing(bfv: BFV, pair: KeyPair) -> None:
    terms, clients = _round(bfv, pair)
    sent = {number: one.answer(0, terms.session) for number, one in clients.items()}
    drawn = np.random.default_rng(0)
    for trial in range(60):
        changed = bytearray(sent[0])
        if trial % 3 == 0:
            changed[int(drawn.integers(len(changed)))] ^= 1 << int(drawn.integers(8))
        elif trial % 3 == 1:
            changed = changed[: int(drawn.integers(len(changed)))]
        else:
            changed += bytes(int(drawn.integers(1, 90)))
        server = Server(terms, authority=True)
        server.collect(0, {**sent, 0: bytes(changed)})
        assert server.survivors == (1, 2, 3)
        with suppress(Refused):  # as a malicious client signs it: read, or refused, and no crash
            load(bfv, bytes(changed[64:]), WORDS)


def test_a_ciphertext_of_another_kind_is_refused(bfv: BFV, pair: KeyPair) -> None:
    other = CKKS(40)
    lock = KeyPair(other).lock()
    with pytest.raises(Refused, match="cannot be read"):
        load(bfv, seal_values(other, lock, np.zeros(WORDS)), WORDS)
    with pytest.raises(Refused, match="another length"):
        load(bfv, seal_values(bfv, public_lock(bfv, pair.public), np.zeros(5000, dtype=np.int64)), WORDS)


@pytest.fixture(scope="module")
def ckks() -> tuple[CKKS, KeyPair]:
    scheme = CKKS(40)
    return scheme, KeyPair(scheme)


def _five(scheme: CKKS, pair: KeyPair, scale: float) -> tuple[Terms, dict[int, bytes]]:
    """Five signed updates of ones, in two ciphertexts each; the last one of client 2 has another scale."""
    identities = {client: Identity(Secrets(0, 0)("identity", client).bytes(32)) for client in range(5)}
    terms = Terms(
        session=bytes(16),
        invited=(0, 1, 2, 3, 4),
        fewest=3,
        values=5000,
        shares=dict.fromkeys(range(5), 1.0),
        scheme=scheme,
        directory=Directory({client: one.public for client, one in identities.items()}),
    )
    lock, sent = public_lock(scheme, pair.public), {}
    for client, identity in identities.items():
        parts = [lock(scheme.encode(np.ones(size))) for size in (4096, 904)]
        parts[1].scale = scale if client == 2 else scheme.scale
        content = dump(parts)
        said = b"encrypt" + terms.session + client.to_bytes(4, "little") + hashlib.sha256(content).digest()
        sent[client] = identity.sign(said) + content
    return terms, sent


@pytest.mark.parametrize("keys", ["authority", "shared"])
def test_a_client_whose_second_ciphertext_has_another_scale_is_left_out_of_the_first_too(
    keys: str, ckks: tuple[CKKS, KeyPair]
) -> None:
    scheme, pair = ckks
    terms, sent = _five(scheme, pair, 2.0**45)
    server = Server(terms, authority=keys == "authority")
    server.collect(0, sent)
    assert (server.survivors, list(server.dropped)) == ((0, 1, 3, 4), [2])
    reader: Any = Authority(terms, pair) if keys == "authority" else _reader(terms, pair)
    reader.answer(1, server.requests(1)[AUTHORITY if keys == "authority" else 0])
    assert np.allclose(reader.opened, 4.0, atol=1e-6)


def _reader(terms: Terms, pair: KeyPair) -> Client:
    """Client 0 where it waits for the sum."""
    nothing = np.zeros(0, dtype=np.float32)
    one = Client(0, np.ones(terms.values), nothing, terms, Identity(bytes(32)), pair.lock(), pair)
    one.answer(0, terms.session)
    return one


def test_sums_do_not_change_where_a_ciphertext_cannot_be_added(bfv: BFV, pair: KeyPair) -> None:
    """Of two clients, one sends what takes the other's randomness out of the second ciphertext."""
    lock = public_lock(bfv, pair.public)
    total = [lock(bfv.encode(np.ones(3, dtype=np.int64))) for _ in range(2)]
    opposite = seal.Ciphertext()
    bfv.evaluator.negate(total[1], opposite)
    before = pair.open(total, 5000)
    with pytest.raises(Refused, match="cannot be added"):
        add(bfv, total, [total[0], opposite])
    assert np.array_equal(pair.open(total, 5000), before)


@pytest.mark.parametrize("scale", [2.0**100, float("nan"), -1.0, 1e-308])
def test_a_server_that_lies_about_a_sum_makes_clients_stop(scale: float, ckks: tuple[CKKS, KeyPair]) -> None:
    scheme, pair = ckks
    terms, sent = _five(scheme, pair, scale)
    head = (4).to_bytes(4, "little") + b"".join(c.to_bytes(4, "little") for c in (0, 1, 3, 4))
    with pytest.raises(Refused, match="of another kind"):
        _reader(terms, pair).answer(1, head + sent[2][64:])
    clear = np.full(1, scale if scale != scale else np.inf, dtype="<f4").tobytes()
    with pytest.raises(Refused, match="no number"):
        _reader(replace(terms, clear=1), pair).answer(1, clear + head + sent[0][64:])


def test_under_a_shared_key_a_client_is_sent_the_sums_that_it_missed() -> None:
    """The model is all sums added up, and nobody else has it."""
    plugin, rows = HEBFV(keys="shared", range=1.0), torch.zeros(4, 20)

    def round_of(
        one: HEBFV, number: int, clients: tuple[int, ...], gone: tuple[int, ...] = ()
    ) -> tuple[Exchanged, int]:
        wire = _wire(leaves=lambda stage, client: stage == 1 and client in gone)
        context = replace(_context(len(clients), 20, wire, number), clients=clients)
        done = one.exchange(rows[: len(clients)], torch.ones(len(clients), dtype=torch.float64), context).value
        return done, wire.most_received

    first, alone = round_of(plugin, 1, (0, 1, 2, 3), gone=(3,))
    assert first.download_bytes == alone
    second, received = round_of(plugin, 2, (0, 1, 2))
    assert second.download_bytes == received  # nobody missed anything
    resumed = HEBFV(keys="shared", range=1.0)
    resumed.load_state(plugin.state())
    for one in (plugin, resumed):
        third, received = round_of(one, 3, (0, 1, 2, 3))
        assert third.download_bytes is not None
        assert third.download_bytes - received == pytest.approx(2 * alone, abs=300)
        assert round_of(one, 4, (0, 1, 2, 3))[0].download_bytes == pytest.approx(received, abs=300)
    skipped, _ = round_of(plugin, 5, (0, 1), gone=(0, 1))
    assert (skipped.vector, skipped.sends_model) == (None, False)


def test_why_an_authority_decrypts_nothing_is_said_and_who_it_is_about() -> None:
    def says(message: Message) -> bytes:
        return message.content[:-1] if message.receiver == AUTHORITY else message.content

    done = _exchange(HEBFV(), torch.zeros(3, 5), torch.ones(3, dtype=torch.float64), says=says)
    assert done.skipped is not None
    assert done.skipped.startswith("the authority decrypts no sum: ")


@pytest.mark.parametrize("plugin", [HEBFV, HECKKS])
@pytest.mark.parametrize("keys", ["authority", "shared"])
def test_who_has_the_key_reads_updates_as_they_were_encrypted(plugin: Any, keys: str) -> None:
    rows = torch.tensor([[9.0, -0.3, float("nan"), 11.0], [1e-9, 0.25, 1.0, -2.0], [0.5, 0.125, -9.0, 0.0]])
    weights, layout = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64), _tensors(3, 1)
    made = plugin(keys=keys, range=1.0, encrypted=0.75)
    done = made.exchange(rows, weights, replace(_context(3, 4, _wire()), layout=layout)).value
    assert done.rows is not None
    expected = rows.clone()
    expected[:, :3] = rows[:, :3].nan_to_num(0.0).clamp(-1.0, 1.0)
    read = done.rows()
    assert torch.allclose(read, expected, atol=1e-7)
    assert torch.equal(read[:, 3], rows[:, 3])
    assert not torch.equal(read, expected)  # not even what saturated, but what was decrypted
    mean = (read.double() * weights[:, None]).sum(dim=0) / 7
    assert torch.allclose(mean, done.vector.double(), atol=1e-4)


def test_what_an_update_takes_on_the_wire() -> None:
    size, wire = 8192, _wire()
    context = _context(2, size, wire)
    HEBFV(keys="shared").exchange(torch.zeros(2, size), torch.ones(2), context)
    assert wire.most_sent < 7.7 * size
    both = _wire()
    HEBFV(keys="authority", threshold=0.0).exchange(torch.zeros(2, size), torch.ones(2), _context(2, size, both))
    assert both.most_sent < 15.3 * size
    assert both.received[AUTHORITY] > 2 * both.most_sent - 200


def _tensors(*sizes: int) -> Layout:
    infos = tuple(ParameterInfo(f"t{place}", (size,), Role.OTHER) for place, size in enumerate(sizes))
    return Layout(infos, tuple(sum(sizes[:place]) for place in range(len(sizes))), sum(sizes))


def test_a_share_of_the_parameters_is_that_of_the_first_whole_tensors() -> None:
    layout = _tensors(10, 20, 5, 5)
    found = {share: layout.first(share) for share in (0.0, 0.24, 0.74, 0.75, 0.8, 0.99, 1.0)}
    assert found == {0.0: 10, 0.24: 10, 0.74: 10, 0.75: 30, 0.8: 30, 0.99: 35, 1.0: 40}
    rest = layout.after(30)
    assert (rest.offsets, rest.size, [p.name for p in rest.parameters]) == ((0, 5), 10, ["t2", "t3"])
    vector = torch.arange(40.0)
    assert all(torch.equal(rest.tensor(vector[30:], p.name), layout.tensor(vector, p.name)) for p in rest.parameters)
    assert (layout.after(0), layout.after(40).size, _tensors(3).first(0.1)) == (layout, 0, 3)


@pytest.mark.parametrize("plugin", [HEBFV, HECKKS])
@pytest.mark.parametrize("keys", ["authority", "shared"])
def test_a_part_in_the_clear_is_added_up_beside_the_ciphertexts(plugin: Any, keys: str) -> None:
    drawn, layout = np.random.default_rng(0), _tensors(30, 20, 50)
    rows = torch.from_numpy(drawn.normal(0, 0.1, (4, 100)).astype(np.float32))
    rows[1, 70], rows[0, 60] = float("nan"), 11.0  # beyond the range of what is encrypted
    weights, wire = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64), _wire(keeps=True)
    context = replace(_context(4, 100, wire), layout=layout)
    made = plugin(keys=keys, encrypted=0.5, **({"flooding": 0} if plugin is HECKKS else {}))
    done = made.exchange(rows, weights, context)
    assert done.value.clients == (0, 2, 3)  # a server that reads a part checks it
    expected = (rows[[0, 2, 3]].double() * weights[[0, 2, 3], None]).sum(dim=0) / 8
    assert torch.allclose(done.value.vector.double(), expected, atol=2e-6)
    assert done.measurements["encrypted"] == 0.5
    uploads = [m.content for m in wire.messages if m.stage == "encrypt" and m.receiver == SERVER]
    assert [one[: 4 * 50] for one in uploads] == [row[50:].numpy().tobytes() for row in rows]
    whole = _wire()
    plugin(keys=keys).exchange(rows.nan_to_num(), weights, _context(4, 100, whole))
    assert abs(wire.most_sent - whole.most_sent - 4 * 50) < 100  # at least one ciphertext either way
