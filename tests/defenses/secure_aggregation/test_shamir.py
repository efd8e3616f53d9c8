"""Secret sharing: enough shares give the secret back, fewer say nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import isprime

from fedsec.defenses.secure_aggregation.secagg.shamir import PRIME, recover, share
from fedsec.privacy.keystream import KeyStream


def test_the_field_is_one() -> None:
    assert isprime(PRIME)
    assert PRIME > 2**256


@settings(max_examples=60, deadline=None)
@given(
    secret=st.binary(min_size=32, max_size=32),
    holders=st.lists(st.integers(0, 2**32), min_size=1, max_size=12, unique=True),
    data=st.data(),
)
def test_any_enough_shares_give_the_secret_back(secret: bytes, holders: list[int], data: st.DataObject) -> None:
    threshold = data.draw(st.integers(1, len(holders)))
    shares = share(secret, holders, threshold, KeyStream(bytes(32)))
    kept = data.draw(st.permutations(holders))[: data.draw(st.integers(threshold, len(holders)))]
    assert recover({holder: shares[holder] for holder in kept}, threshold) == secret


@settings(max_examples=30, deadline=None)
@given(
    one=st.binary(min_size=32, max_size=32),
    other=st.binary(min_size=32, max_size=32),
    count=st.integers(2, 8),
    data=st.data(),
)
def test_one_share_too_few_fits_every_secret(one: bytes, other: bytes, count: int, data: st.DataObject) -> None:
    threshold = data.draw(st.integers(2, count))
    shares = share(one, range(count), threshold, KeyStream(bytes(32)))
    known = {holder: shares[holder] for holder in list(shares)[: threshold - 1]}
    # The polynomial through these shares and any other secret at 0, evaluated at the next holder.
    points = {holder + 1: value for holder, value in known.items()} | {0: int.from_bytes(other, "little")}
    at, value = threshold, 0
    for x, y in points.items():
        over, under = 1, 1
        for z in points:
            if z != x:
                over, under = over * (at - z) % PRIME, under * (x - z) % PRIME
        value = (value + y * over * pow(under, PRIME - 2, PRIME)) % PRIME
    assert recover({**known, threshold - 1: value}, threshold) == other
    with pytest.raises(ValueError, match="do not give back"):
        recover(known, threshold)


def test_what_makes_no_sense_is_refused() -> None:
    draw = KeyStream(bytes(32))
    for secret, holders, threshold in (
        (bytes(31), (0, 1), 1),
        (bytes(32), (0, 0), 1),
        (bytes(32), (-1, 0), 1),
        (bytes(32), (0, 1), 3),
        (bytes(32), (0, 1), 0),
    ):
        with pytest.raises(ValueError, match=r"secret|holders"):
            share(secret, holders, threshold, draw)
    with pytest.raises(ValueError, match="not shares of one secret"):
        recover({0: PRIME - 1}, 1)
