"""The protocol of secure aggregation: exact sums, drop-outs, thresholds, and messages of all kinds of malice."""

import numpy as np
import pytest
from scipy import stats

from fedsec.api import SERVER, Message, Refused
from fedsec.defenses.secure_aggregation.keys import KeyPair
from fedsec.defenses.secure_aggregation.parts import join_list, join_numbers
from fedsec.defenses.secure_aggregation.secagg.client import STAGES
from fedsec.defenses.secure_aggregation.secagg.masks import add_pairwise_mask

from .support import KINDS, Round, alter, network

SHARE, MASK, AGREE, UNMASK = (STAGES.index(name) for name in ("share", "mask", "agree", "unmask"))


def _trials(count: int) -> None:
    drawn = np.random.default_rng(count)
    for seed in range(count):
        size = int(drawn.integers(3, 8))
        neighbours = None if seed % 2 else 2 * int(drawn.integers(1, 4))
        one = Round(size, words=int(drawn.integers(1, 9)), seed=seed, neighbours=neighbours)
        gone = drawn.permutation(one.terms.invited)[: int(drawn.integers(0, int(0.3 * size) + 1))]
        leaves = {int(client): int(drawn.integers(0, len(STAGES))) for client in gone}
        played = one.play(leaves)
        if neighbours is None:  # in a small neighbourhood, too many of it may be gone
            assert played.failed is None
            assert set(one.server.survivors) == {c for c in one.terms.invited if leaves.get(c, 9) > MASK}
        if played.failed is None:
            assert one.right
        assert not one.reveals


def test_sums_are_exact_with_drop_outs_at_any_stage() -> None:
    _trials(30)


@pytest.mark.slow
def test_sums_are_exact_with_drop_outs_at_any_stage_in_many_trials() -> None:
    _trials(400)


@pytest.mark.parametrize("stage", range(len(STAGES)))
def test_down_to_the_threshold_and_not_below(stage: int) -> None:
    one = Round(6)  # five have to stay
    assert one.play({one.terms.invited[2]: stage}).failed is None
    assert one.right
    too_few = Round(6)
    failed = too_few.play(dict.fromkeys(too_few.terms.invited[1:3], stage)).failed
    assert failed == f"4 clients took part in the stage '{STAGES[stage]}', the threshold is 5"


def test_one_clients_words_say_nothing_and_no_round_shares_masks_with_another() -> None:
    """FATE's masks are the same in every round of a job, so that two rounds' difference is that of two rows."""
    rounds = [Round(3, words=4000, number=number) for number in (1, 2)]
    masked = []
    for one in rounds:
        for row in one.rows.values():
            row[:] = 0
        assert one.play().failed is None
        words = next(m.content for m in one.messages if m.stage == "mask" and m.sender == 3 and m.receiver == SERVER)
        masked.append(np.frombuffer(words, dtype="<u4"))
    for words in (*masked, masked[0] - masked[1]):
        assert stats.chisquare(np.bincount(words >> 24, minlength=256)).pvalue > 1e-6
    again = Round(3, words=4000)  # the same keys once more, under another session
    again.terms = again.terms.__class__(**{**_fields(again.terms), "session": b"another session!"})
    again.clients = {client: again.client(client) for client in again.terms.invited}
    again.server = again.server.__class__(again.terms)
    for row in again.rows.values():
        row[:] = 0
    assert again.play().failed is None
    words = next(m.content for m in again.messages if m.stage == "mask" and m.sender == 3 and m.receiver == SERVER)
    assert not np.isin(np.frombuffer(words, dtype="<u4"), masked[0]).sum() > 3


def _fields(terms: object) -> dict[str, object]:
    return {name: getattr(terms, name) for name in terms.__dataclass_fields__}  # type: ignore[attr-defined]


def test_a_masked_update_that_comes_late_stays_hidden() -> None:
    """Without a mask of its own, a client whose keys were opened as a drop-out's would be read when it arrives late."""
    one = Round(4)
    late = one.terms.invited[1]
    held: list[bytes] = []

    def carries(stage: int, sender: int, receiver: int, crossed: bytes) -> bytes:
        if stage == MASK and sender == late:
            held.append(crossed[12:-16])
            return b""
        return crossed

    assert one.play(carries=carries).failed is None
    assert late not in one.server.survivors
    words = np.frombuffer(held[0], dtype="<u4").copy()
    pair = KeyPair(one.clients[late]._masking.secret)  # which the server recovered
    for other in one.server.survivors:
        public = one.clients[other]._masking.public
        add_pairwise_mask(words, one.terms.session, pair, late, other, public, subtract=True)
    assert not np.array_equal(words, one.rows[late])


def _altered_on_the_network(trials: int) -> None:
    outcomes = set()
    for seed in range(trials):
        one = Round(6, words=5, seed=seed, neighbours=4 if seed % 3 == 0 else None)
        played = one.play(carries=network(KINDS[seed % 4], np.random.default_rng(seed)))
        outcomes.add(played.failed is None)
        assert played.failed is not None or one.right
        assert not one.reveals
    assert outcomes == {True, False}


def _said_by_a_party(trials: int) -> None:
    """A malicious client, or server, that authenticates what it alters."""
    for seed in range(trials):
        drawn = np.random.default_rng(seed)
        one = Round(6, words=5, seed=seed)
        liar = SERVER if seed % 2 else one.terms.invited[int(drawn.integers(6))]
        kind, seen = (*KINDS[:3], "extend")[int(drawn.integers(4))], []
        rate = float(drawn.choice([0.1, 0.4, 1.0]))
        masked: dict[int, bytes] = {}

        def says(message: Message, liar: int = liar, kind: str = kind, rate: float = rate, seen: list = seen) -> bytes:  # type: ignore[type-arg]
            seen.append(message.content)
            if message.stage == "mask" and message.receiver == SERVER:
                masked[message.sender] = message.content  # noqa: B023 - this trial's
            if message.sender != liar or drawn.random() > rate:  # noqa: B023 - this trial's
                return message.content
            return alter(message.content, kind, drawn, seen)  # noqa: B023 - this trial's

        played = one.play(says=says)
        assert not one.reveals
        if liar != SERVER and played.failed is None:
            # Its words are its own to choose, as its update is; everybody else's are added up as they are.
            own = [m.content for m in one.messages if m.stage == "mask" and m.sender == liar and m.receiver == SERVER]
            honest = [m for m in one.server.survivors if m != liar]
            off = one.server.total - one.sum_of(tuple(honest))
            if liar not in one.server.survivors:
                assert not off.any()
            elif own[0] == masked[liar]:
                assert np.array_equal(off, one.rows[liar])


def test_messages_that_a_network_alters_make_no_wrong_sum() -> None:
    _altered_on_the_network(24)


def test_parties_that_lie_crash_nobody_and_open_no_row() -> None:
    _said_by_a_party(24)


@pytest.mark.slow
def test_hundreds_of_altered_messages() -> None:
    _altered_on_the_network(300)
    _said_by_a_party(300)


def _until(stage: int, one: Round) -> dict[int, bytes]:
    """Play honestly up to a stage, and return its requests."""
    for before in range(stage):
        asked = one.server.requests(before)
        one.server.collect(before, {client: one.clients[client].answer(before, asked[client]) for client in asked})
    return dict(one.server.requests(stage))


def test_nobody_unmasks_a_client_that_is_in_both_lists() -> None:
    """Flower's clients never compare the lists, and one dishonest request obtains both shares of a victim."""
    one = Round(4)
    requests = _until(UNMASK, one)
    victim = one.terms.invited[0]
    for client in one.terms.invited[1:]:
        survivors, signatures = requests[client][4 : 4 + 16], requests[client][4 + 16 + 4 :]
        both = (4).to_bytes(4, "little") + survivors + (1).to_bytes(4, "little") + join_numbers([victim]) + signatures
        with pytest.raises(Refused, match="in the sum and to have dropped out"):
            one.clients[client].answer(UNMASK, both)
        with pytest.raises(Refused, match="next"):  # and it takes no further part
            one.clients[client].answer(UNMASK, requests[client])


def test_nobody_unmasks_for_two_lists() -> None:
    """Without a consistency round, some clients are told that a victim dropped out, and others that it did not."""
    one = Round(4)
    _until(AGREE, one)
    everybody, victim = one.terms.invited, one.terms.invited[0]
    signed = {}
    for client in everybody:
        listed = everybody if client == everybody[1] else tuple(c for c in everybody if c != victim)
        if client == victim:
            continue
        signed[client] = one.clients[client].answer(AGREE, join_numbers(listed))
    told = tuple(c for c in everybody if c != victim)
    request = b"".join(
        len(numbers).to_bytes(4, "little") + join_numbers(numbers) for numbers in (told, (victim,))
    ) + join_list(signed)
    with pytest.raises(Refused, match="2 neighbours confirm the list, 3 have to"):
        one.clients[everybody[2]].answer(UNMASK, request)


def test_a_server_cannot_put_keys_of_its_own_in_a_clients_place() -> None:
    one = Round(4)
    requests = _until(SHARE, one)
    client = one.terms.invited[0]
    forged = bytearray(requests[client])
    start = 4 + 16 + 4  # the first neighbour's advertisement
    forged[start : start + 32] = KeyPair(bytes(32)).public
    with pytest.raises(Refused, match="not signed"):
        one.clients[client].answer(SHARE, bytes(forged))


def test_an_advertisement_of_another_round_is_refused() -> None:
    earlier, now = Round(3, number=1), Round(3, number=2)
    old = earlier.clients[3].answer(0, earlier.terms.session)
    answers = {client: now.clients[client].answer(0, now.terms.session) for client in now.terms.invited}
    with pytest.raises(Refused, match="2 clients took part"):
        now.server.collect(0, {**answers, 3: old})
    assert "not signed" in now.server.dropped[3]


@pytest.mark.parametrize("kind", ["degenerate", "its own twice", "another's"])
def test_a_client_whose_keys_are_of_no_use_is_left_out_and_stops_nobody(kind: str) -> None:
    """Its neighbours would refuse such keys, all of them, and the round would be over."""
    one = Round(7)
    liar = one.terms.invited[-1]
    keys = {
        "degenerate": bytes(32) + KeyPair(bytes(32)).public,
        "its own twice": 2 * KeyPair(bytes(32)).public,
        "another's": KeyPair(bytes(32)).public + one.clients[one.terms.invited[0]]._sealing.public,
    }[kind]

    def says(message: Message) -> bytes:
        if message.sender != liar or message.stage != "advertise":
            return message.content
        about = b"advertise" + one.terms.session + join_numbers([liar])
        return keys + one.identities[liar].sign(about, keys)

    assert one.play(says=says).failed is None
    assert one.right
    assert one.server.survivors == one.terms.invited[:-1]
    assert list(one.server.dropped) == [liar]


def test_wrong_shares_are_noticed() -> None:
    one = Round(4)
    requests = _until(UNMASK, one)
    answers = {client: one.clients[client].answer(UNMASK, requests[client]) for client in one.terms.invited}
    wrong = bytearray(answers[3])
    wrong[-1 - 32] ^= 1
    with pytest.raises(Refused, match=r"do not fit|cannot be taken off"):
        one.server.collect(UNMASK, {**answers, 3: bytes(wrong)})


def test_neighbourhoods_are_mutual_and_as_large_as_asked_for() -> None:
    one = Round(11, neighbours=4)
    everybody = one.terms.invited
    near = {client: set(one.terms.neighbours_of(client, everybody)) for client in everybody}
    assert all(len(others) == 4 and client not in others for client, others in near.items())
    assert all(client in near[other] for client, others in near.items() for other in others)
    reached, edge = {everybody[0]}, {everybody[0]}
    while edge:
        edge = set().union(*(near[client] for client in edge)) - reached
        reached |= edge
    assert reached == set(everybody)
    assert one.play({everybody[2]: MASK}).failed is None
    assert one.right
