"""Key streams: the cipher's own, uniform, and never twice the same."""

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from scipy import stats

from fedsec.privacy.keystream import KeyStream, secure


def test_it_is_the_cipher_in_counter_mode() -> None:
    key = bytes(range(32))
    blocks = Cipher(algorithms.AES256(key), modes.ECB()).encryptor()  # noqa: S305 - the slow way to the same stream
    expected = b"".join(blocks.update(number.to_bytes(16, "big")) for number in range(40))
    assert KeyStream(key).bytes(640) == expected
    assert KeyStream(key).words(160).tobytes() == expected


def test_words_are_added_and_taken_off_in_any_length() -> None:
    start = np.random.default_rng(0).integers(0, 2**32, 200_003, dtype=np.uint32)
    total = start.copy()
    KeyStream(b"k" * 32).add_to(total)
    masked = total.copy()
    assert np.array_equal(total - start, KeyStream(b"k" * 32).words(200_003))
    KeyStream(b"k" * 32).add_to(total, subtract=True)
    assert np.array_equal(total, start)
    for shift in (0, 8, 16, 24):
        counts = np.bincount((masked >> shift) & 255, minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-6


def test_numbers_below_a_bound_reach_all_of_them() -> None:
    """Flower's masks never take the modulus less 1."""
    stream = KeyStream(b"b" * 32)
    counts = np.bincount([stream.below(5) for _ in range(2000)], minlength=5)
    assert len(counts) == 5
    assert stats.chisquare(counts).pvalue > 1e-6
    assert [stream.below(1) for _ in range(3)] == [0, 0, 0]


def test_keys_that_fold_to_the_same_32_bits_give_other_masks() -> None:
    """Flower folds a secret of 256 bits to 32, so that two secrets share a mask and 2^32 trials find one."""
    one = bytes(28) + b"\x01\x02\x03\x04"
    other = b"\x01\x02\x03\x04" + bytes(28)
    assert not np.array_equal(KeyStream(one).words(8), KeyStream(other).words(8))


def test_the_operating_systems_keys_differ() -> None:
    assert secure("any").bytes(32) != secure("any").bytes(32)
    with pytest.raises(ValueError, match="32 bytes"):
        KeyStream(b"short")
