"""A client of secure aggregation: it advertises keys, shares its secrets, masks its update, agrees, and unmasks."""

import numpy as np

from fedsec.api import Refused
from fedsec.privacy.keystream import KeyStream

from ..keys import PUBLIC_BYTES, SIGNATURE_BYTES, TAG_BYTES, Identity, KeyPair, digest, seal, unseal
from ..parts import join_list, join_numbers, split, split_list, split_numbers
from .masks import add_pairwise_mask, add_self_mask
from .shamir import SECRET_BYTES, SHARE_BYTES, share
from .terms import Terms

STAGES = ("advertise", "share", "mask", "agree", "unmask")
ADVERTISED_BYTES = 2 * PUBLIC_BYTES + SIGNATURE_BYTES
SEALED_BYTES = 2 * SHARE_BYTES + TAG_BYTES
COMMITMENT_BYTES = 32
OF_MASK, OF_KEY = b"mask", b"key!"
"""The secret that a share is of: a client's own mask, where it is in the sum, or its key, where it dropped out."""
KIND_BYTES = 4


class Client:
    """One client in one round. Every request is hostile until it was checked.

    Args:
        number: the client's.
        values: its update as words [words], uint32, from which the clients' sum modulo 2^32 is made.
        terms: of the round.
        identity: its signature key.
        draw: where its keys, masks and shares come from.
    """

    def __init__(self, number: int, values: np.ndarray, terms: Terms, identity: Identity, draw: KeyStream) -> None:
        self._number, self._values, self._terms, self._identity, self._draw = number, values, terms, identity, draw
        self._steps = (self._advertise, self._share, self._mask, self._agree, self._unmask)
        self._stage = 0
        self._masking, self._sealing = KeyPair(draw.bytes(SECRET_BYTES)), KeyPair(draw.bytes(SECRET_BYTES))
        self._own_mask = draw.bytes(SECRET_BYTES)
        self._advertised: dict[int, tuple[bytes, bytes]] = {}
        """The neighbours' public keys, for masks and for sealed shares."""
        self._own_shares: tuple[int, int] = (0, 0)
        self._sealed: dict[int, bytes] = {}
        """The neighbours' shares for this client, as they came."""
        self._agreed: tuple[int, ...] = ()

    def answer(self, stage: int, request: bytes) -> bytes:
        """Return the answer to a request; see `fedsec.api.Party`."""
        if stage != self._stage:  # a repeated stage would give away a second set of shares
            raise Refused(f"stage {stage} was asked for where {self._stage} is next")
        self._stage += 1
        try:
            return self._steps[stage](request)
        except Refused:
            self._stage = len(STAGES)  # it takes no further part
            raise

    def _advertise(self, request: bytes) -> bytes:
        if request != self._terms.session:
            raise Refused("the round is another one")
        keys = self._masking.public + self._sealing.public
        return keys + self._identity.sign(*_advertisement(self._terms, self._number), keys)

    def _share(self, request: bytes) -> bytes:
        """Check the advertised keys; share this client's two secrets among its neighbours and itself."""
        terms = self._terms
        listed, sent = _present(request)
        if self._number not in listed or not set(listed) <= set(terms.invited):
            raise Refused("the list of clients is not one of this round with this client in it")
        if len(listed) < terms.threshold:
            raise Refused(f"{len(listed)} clients are fewer than the threshold of {terms.threshold}")
        neighbours = terms.neighbours_of(self._number, listed)
        advertised = split_list(sent, ADVERTISED_BYTES)
        if tuple(advertised) != neighbours:
            raise Refused("the advertised keys are not those of this client's neighbours")
        seen = {self._masking.public, self._sealing.public}
        for other, content in advertised.items():
            masking, sealing, signature, _ = split(content, PUBLIC_BYTES, PUBLIC_BYTES, SIGNATURE_BYTES)
            if not terms.directory.signed(other, signature, *_advertisement(terms, other), masking + sealing):
                raise Refused(f"the keys of client {other} are not signed by it")
            if seen & {masking, sealing} or masking == sealing:
                raise Refused("two public keys are the same")
            seen |= {masking, sealing}
            self._advertised[other] = masking, sealing
        holders = (*neighbours, self._number)
        if len(holders) < terms.shares_needed:
            raise Refused(f"{len(holders)} holders cannot give back a secret of {terms.shares_needed} shares")
        of_mask = share(self._own_mask, holders, terms.shares_needed, self._draw)
        of_key = share(self._masking.secret, holders, terms.shares_needed, self._draw)
        self._own_shares = of_mask[self._number], of_key[self._number]
        sealed = {
            other: self._seal(other, of_mask[other].to_bytes(SHARE_BYTES, "little") + _bytes(of_key[other]))
            for other in neighbours
        }
        return commitment(terms, self._number, self._own_mask) + join_list(sealed)

    def _mask(self, request: bytes) -> bytes:
        """Keep the neighbours' shares, and return the update under this client's masks."""
        self._sealed = split_list(request, SEALED_BYTES)
        if not self._sealed.keys() <= self._advertised.keys():
            raise Refused("shares come from a client that advertised no keys")
        if len(self._sealed) + 1 < self._terms.shares_needed:
            raise Refused(f"{len(self._sealed) + 1} neighbours are too few to unmask")
        total = self._values.copy()
        add_self_mask(total, self._terms.session, self._own_mask)
        for other in self._sealed:
            add_pairwise_mask(
                total, self._terms.session, self._masking, self._number, other, self._advertised[other][0]
            )
        return total.astype("<u4").tobytes()

    def _agree(self, request: bytes) -> bytes:
        """Sign the list of clients whose masked updates arrived: nobody unmasks for two different lists."""
        listed = split_numbers(request)
        near = set(self._sealed)
        if self._number not in listed or not set(listed) <= set(self._terms.invited):
            raise Refused("the list of masked updates is not one of this round with this client in it")
        if len(listed) < self._terms.threshold:
            raise Refused(f"{len(listed)} masked updates are fewer than the threshold of {self._terms.threshold}")
        if not set(listed) & set(self._advertised) <= near:
            raise Refused("a neighbour without shares is in the list of masked updates")
        self._agreed = listed
        return self._identity.sign(*_agreement(self._terms, listed))

    def _unmask(self, request: bytes) -> bytes:
        """Return shares of the masks of neighbours in the sum, and of the keys of those that left; never both."""
        count, rest = split(request, 4)
        size = int.from_bytes(count, "little") * 4
        survivors, rest = split(rest, size)
        count, rest = split(rest, 4)
        dropped, signatures = split(rest, int.from_bytes(count, "little") * 4)
        in_sum, gone = split_numbers(survivors), split_numbers(dropped)
        if set(in_sum) & set(gone):
            raise Refused("a client is to be in the sum and to have dropped out")
        if in_sum != self._agreed:
            raise Refused("the sum is of other clients than was agreed")
        near = set(self._sealed)
        if set(gone) != near - set(in_sum):
            raise Refused("the list of clients that dropped out is not that of neighbours without a masked update")
        signed = split_list(signatures, SIGNATURE_BYTES)
        valid = sum(self._confirms(other, signature, near) for other, signature in signed.items())
        if valid < self._terms.shares_needed:
            raise Refused(f"{valid} neighbours confirm the list, {self._terms.shares_needed} have to")
        shares = {self._number: OF_MASK + _bytes(self._own_shares[0])}
        for other in sorted(near):
            opened = self._unseal(other)
            if opened is not None:  # a malicious neighbour sealed no shares; others hold them
                of_mask, of_key, _ = split(opened, SHARE_BYTES, SHARE_BYTES)
                shares[other] = OF_KEY + of_key if other in gone else OF_MASK + of_mask
        return join_list(shares)

    def _confirms(self, other: int, signature: bytes, near: set[int]) -> bool:
        """Return whether another client of this neighbourhood, or this one, agreed on the same list."""
        known = other in near or other == self._number
        return known and self._terms.directory.signed(other, signature, *_agreement(self._terms, self._agreed))

    def _seal(self, other: int, content: bytes) -> bytes:
        about = _between(self._terms, self._number, other)
        return seal(self._sealing.agree(self._advertised[other][1], about), content, about)

    def _unseal(self, other: int) -> bytes | None:
        about = _between(self._terms, other, self._number)
        return unseal(self._sealing.agree(self._advertised[other][1], about), self._sealed[other], about)


def advertised(terms: Terms, client: int, content: bytes) -> bool:
    """Return whether a client's advertisement is signed by it, and for this round."""
    if len(content) != ADVERTISED_BYTES:
        return False
    keys, signature, _ = split(content, 2 * PUBLIC_BYTES, SIGNATURE_BYTES)
    return terms.directory.signed(client, signature, *_advertisement(terms, client), keys)


def agreed(terms: Terms, client: int, signature: bytes, listed: tuple[int, ...]) -> bool:
    """Return whether a client signed that list of clients in the sum."""
    return terms.directory.signed(client, signature, *_agreement(terms, listed))


def commitment(terms: Terms, client: int, own_mask: bytes) -> bytes:
    """Return the digest that tells the server later whether a client's self mask was given back rightly."""
    return digest(b"self mask", terms.session, join_numbers([client]), own_mask)


def _present(request: bytes) -> tuple[tuple[int, ...], bytes]:
    """Return the list of clients at the head of a request, and what follows it."""
    count, rest = split(request, 4)
    numbers, rest = split(rest, 4 * int.from_bytes(count, "little"))
    return split_numbers(numbers), rest


def _advertisement(terms: Terms, client: int) -> tuple[bytes, bytes, bytes]:
    return b"advertise", terms.session, join_numbers([client])


def _agreement(terms: Terms, listed: tuple[int, ...]) -> tuple[bytes, bytes, bytes]:
    return b"agree", terms.session, digest(join_numbers(listed))


def _between(terms: Terms, sender: int, receiver: int) -> bytes:
    return b"shares" + terms.session + join_numbers([sender, receiver])


def _bytes(value: int) -> bytes:
    return value.to_bytes(SHARE_BYTES, "little")
