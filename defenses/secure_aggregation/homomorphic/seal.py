"""Ciphertexts of SEAL, through tenseal.sealapi: one packed stream for a whole update, at 128 bits of security.

The generator is the operating system's unless a key stream is given. SEAL starts a seeded generator anew for every
ciphertext, so that two ciphertexts under one seed would differ by their plaintexts alone: each takes a seed of its own
from the stream, which costs a context each (2.4 ms).
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import tenseal.sealapi as seal

from fedsec.api import Refused
from fedsec.privacy.keystream import KeyStream

DEGREE = 4096
"""Coefficients of a polynomial; at 128 bits of security they allow a modulus of up to 109 bits."""
MODULUS_BITS = 56
"""Of CKKS: the most that SEAL writes in no more bytes than 54 bits."""
_LENGTH_BYTES = 4


class Scheme(Protocol):
    """How an update becomes plaintexts."""

    context: Any
    evaluator: Any
    scale: float
    """By which values are multiplied before encryption; sums of ciphertexts of another scale say something else."""
    in_ntt_form: bool
    """How the scheme's ciphertexts are written."""

    def context_of(self, seed: list[int] | None) -> Any:
        """Return a context of these parameters, whose one generator starts from eight 64-bit words."""
        ...

    def encode(self, part: np.ndarray) -> Any:
        """Return the plaintext of at most DEGREE values."""
        ...

    def decode(self, plain: Any) -> np.ndarray:
        """Return the values of a plaintext [DEGREE]."""
        ...


class BFV:
    """Whole numbers modulo a prime, one to a slot; sums are exact.

    Args:
        plain_bits: of the prime.
    """

    scale, in_ntt_form = 1.0, False

    def __init__(self, plain_bits: int) -> None:
        self._plain = seal.PlainModulus.Batching(DEGREE, plain_bits)
        self.context, self.modulus = self.context_of(None), int(self._plain.value())
        self.evaluator, self._slots = seal.Evaluator(self.context), seal.BatchEncoder(self.context)

    def context_of(self, seed: list[int] | None) -> Any:
        """Return a context of these parameters; see `Scheme`."""
        settings = _settings(seal.SCHEME_TYPE.BFV, [54], seed)
        settings.set_plain_modulus(self._plain)
        return seal.SEALContext(settings, True, seal.SEC_LEVEL_TYPE.TC128)

    def encode(self, part: np.ndarray) -> Any:
        """Return the plaintext of at most DEGREE whole numbers, int64."""
        plain = seal.Plaintext()
        self._slots.encode(part.tolist(), plain)
        return plain

    def decode(self, plain: Any) -> np.ndarray:
        """Return the whole numbers of a plaintext [DEGREE], int64, between -modulus/2 and modulus/2."""
        return np.array(self._slots.decode_int64(plain), dtype=np.int64)


class CKKS:
    """Numbers with an error, two to a slot as the parts of a complex number.

    The modulus is one prime, since sums take no level. With a second one, as SEAL's examples have it, the error of
    encryption by a public key is divided away at the price of a second residue of every polynomial and a division:
    1.6 times the time. Two more bits of the one prime, in as many bytes, give back half of the four that this costs.

    Args:
        scale_bits: the values are multiplied by 2^scale_bits; sums stay below 2^(MODULUS_BITS - 1 - scale_bits).
    """

    in_ntt_form = True

    def __init__(self, scale_bits: int) -> None:
        self.context, self.scale = self.context_of(None), 2.0**scale_bits
        self.evaluator, self._slots = seal.Evaluator(self.context), seal.CKKSEncoder(self.context)

    def context_of(self, seed: list[int] | None) -> Any:
        """Return a context of these parameters; see `Scheme`."""
        settings = _settings(seal.SCHEME_TYPE.CKKS, [MODULUS_BITS], seed)
        return seal.SEALContext(settings, True, seal.SEC_LEVEL_TYPE.TC128)

    def encode(self, part: np.ndarray) -> Any:
        """Return the plaintext of at most DEGREE numbers, fp64: the first half are real parts."""
        plain, full = seal.Plaintext(), np.zeros(DEGREE)
        full[: len(part)] = part
        self._slots.encode((full[: DEGREE // 2] + 1j * full[DEGREE // 2 :]).tolist(), self.scale, plain)
        return plain

    def decode(self, plain: Any) -> np.ndarray:
        """Return the numbers of a plaintext [DEGREE], fp64."""
        slots = np.array(self._slots.decode_complex(plain))
        return np.concatenate([slots.real, slots.imag])


def _settings(scheme: Any, bits: list[int], seed: list[int] | None) -> Any:
    settings = seal.EncryptionParameters(scheme)
    settings.set_poly_modulus_degree(DEGREE)
    settings.set_coeff_modulus(seal.CoeffModulus.Create(DEGREE, bits))
    if seed is not None:
        settings.set_random_generator(seal.Blake2xbPRNGFactory(seed))
    return settings


def _seeded(scheme: Scheme, draw: KeyStream) -> Any:
    """Return a context whose generator starts where no other one does."""
    return scheme.context_of(np.frombuffer(draw.bytes(64), dtype="<u8").tolist())


class KeyPair:
    """The secret key of a round's updates, and the public key that belongs to it.

    Args:
        scheme: of the ciphertexts.
        draw: gives seeds; None for the operating system's generator.
    """

    def __init__(self, scheme: Scheme, draw: KeyStream | None = None) -> None:
        def context() -> Any:
            return scheme.context if draw is None else _seeded(scheme, draw)

        self._scheme, self._secret, self.public = scheme, seal.KeyGenerator(context()).secret_key(), seal.PublicKey()
        # A maker of its own: under one seed, what is public of this key would show what the secret was drawn from.
        seal.KeyGenerator(context(), self._secret).create_public_key(self.public)

    def lock(self, draw: KeyStream | None = None) -> Callable[[Any], Any]:
        """Return what encrypts by the secret key, in half the bytes: the rest is a seed.

        Args:
            draw: gives the seeds of encryptions; None for the operating system's generator.
        """
        if draw is not None:
            return lambda plain: seal.Encryptor(_seeded(self._scheme, draw), self._secret).encrypt_symmetric(plain)
        made: Callable[[Any], Any] = seal.Encryptor(self._scheme.context, self._secret).encrypt_symmetric
        return made

    def open(self, sealed: Sequence[Any], values: int) -> np.ndarray:
        """Return what ciphertexts hold [values].

        Raises:
            Refused: noise is as large as what they held, or they hold no numbers.
        """
        opener, plain = seal.Decryptor(self._scheme.context, self._secret), seal.Plaintext()
        exact = isinstance(self._scheme, BFV)
        parts = []
        for one in sealed:
            if exact and opener.invariant_noise_budget(one) < 1:
                raise Refused("a sum of ciphertexts has more noise than it can hold")
            try:
                opener.decrypt(one, plain)
                parts.append(self._scheme.decode(plain))
            except (ValueError, RuntimeError) as error:
                raise Refused("a ciphertext cannot be decrypted") from error
        found = np.concatenate(parts)[:values]
        if not np.isfinite(found).all():
            raise Refused("ciphertexts hold what is no number")
        return found


def public_lock(scheme: Scheme, public: Any, draw: KeyStream | None = None) -> Callable[[Any], Any]:
    """Return what encrypts by a public key.

    Args:
        scheme: of the ciphertexts.
        public: the key.
        draw: gives the seeds of encryptions; None for the operating system's generator.
    """
    lasting = seal.Encryptor(scheme.context, public)

    def lock(plain: Any) -> Any:
        sealed = seal.Ciphertext()
        encryptor = lasting if draw is None else seal.Encryptor(_seeded(scheme, draw), public)
        encryptor.encrypt(plain, sealed)
        return sealed

    return lock


def seal_values(scheme: Scheme, lock: Callable[[Any], Any], values: np.ndarray) -> bytes:
    """Return an update as a stream of ciphertexts."""
    parts = (values[start : start + DEGREE] for start in range(0, len(values), DEGREE))
    return dump(lock(scheme.encode(part)) for part in parts)


def dump(sealed: Any) -> bytes:
    """Return ciphertexts as bytes, each after its length."""
    found = []
    with _Memory() as memory:
        for one in sealed:
            one.save(memory.path)
            content = memory.content()
            found += [len(content).to_bytes(_LENGTH_BYTES, "little"), content]
    return b"".join(found)


def load(scheme: Scheme, content: bytes, values: int) -> list[Any]:
    """Return the ciphertexts of an update.

    Args:
        scheme: of the ciphertexts.
        content: from `dump`, or anything.
        values: that the update has.

    Raises:
        Refused: these are not as many valid ciphertexts of the scheme as the update takes.
    """
    found, start = [], 0
    with _Memory() as memory:
        while start < len(content):
            length = int.from_bytes(content[start : start + _LENGTH_BYTES], "little")
            part = content[start + _LENGTH_BYTES : start + _LENGTH_BYTES + length]
            start += _LENGTH_BYTES + length
            found.append(_loaded(scheme, memory, part))
    if start != len(content) or len(found) != -(-values // DEGREE):
        raise Refused("an encrypted update has another length than the model")
    return found


def _loaded(scheme: Scheme, memory: "_Memory", content: bytes) -> Any:
    sealed = seal.Ciphertext()
    try:
        memory.fill(content)
        sealed.load(scheme.context, memory.path)
    except (ValueError, RuntimeError, OSError) as error:
        raise Refused("a ciphertext cannot be read") from error
    # SEAL reads a ciphertext of any scale, and adds up what it was not made for: in part, where it stops halfway.
    kind = (sealed.size(), sealed.scale, sealed.is_ntt_form())
    if kind != (2, scheme.scale, scheme.in_ntt_form):
        raise Refused("a ciphertext is of another kind than a fresh one or a sum")
    return sealed


def add(scheme: Scheme, total: Sequence[Any], more: Sequence[Any]) -> list[Any]:
    """Return the sums of ciphertexts; neither these nor those change.

    Raises:
        Refused: they do not fit each other.
    """
    sums = []
    try:
        for one, other in zip(total, more, strict=True):
            sums.append(seal.Ciphertext())
            scheme.evaluator.add(one, other, sums[-1])
    except (ValueError, RuntimeError) as error:
        raise Refused("ciphertexts of different kinds cannot be added") from error
    return sums


class _Memory:
    """A file in memory, since SEAL reads and writes files alone."""

    def __enter__(self) -> "_Memory":
        self._file = os.memfd_create("ciphertext")
        self.path = f"/proc/self/fd/{self._file}"
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def content(self) -> bytes:
        """Return what lies in the file."""
        return os.pread(self._file, os.fstat(self._file).st_size, 0)

    def fill(self, content: bytes) -> None:
        """Put other content into the file."""
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, content, 0)
