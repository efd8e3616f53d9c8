"""The server of secure aggregation: it forwards keys and shares, adds masked updates up, and unmasks the sum."""

from collections.abc import Mapping

import numpy as np

from fedsec.api import Refused

from ..keys import PUBLIC_BYTES, KeyPair
from ..parts import join_list, join_numbers, split, split_list
from .client import (
    COMMITMENT_BYTES,
    KIND_BYTES,
    OF_KEY,
    OF_MASK,
    SEALED_BYTES,
    STAGES,
    advertised,
    agreed,
    commitment,
)
from .masks import add_pairwise_mask, add_self_mask
from .shamir import SECRET_BYTES, SHARE_BYTES, recover
from .terms import Terms


class Server:
    """The server in one round. Every answer is hostile until it was checked.

    Args:
        terms: of the round.
    """

    stages = STAGES

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._keys: dict[int, bytes] = {}
        """Advertisements of U1, as they came."""
        self._seen: set[bytes] = set()
        """The public keys in them."""
        self._trial = KeyPair(b"\1" * SECRET_BYTES)
        """Agrees with every key that is not degenerate, whatever its own is."""
        self._commitments: dict[int, bytes] = {}
        self._sealed: dict[int, dict[int, bytes]] = {}
        """Sealed shares of U2, by receiver and sender."""
        self._sharing: tuple[int, ...] = ()
        self._signatures: dict[int, bytes] = {}
        self._shares: dict[bytes, dict[int, dict[int, int]]] = {OF_MASK: {}, OF_KEY: {}}
        """Shares by kind, by the client whose secret it is, and by holder."""
        self.dropped: dict[int, str] = {}
        """Clients whose answers broke the protocol, and how."""
        self.survivors: tuple[int, ...] = ()
        """Clients whose updates are in the sum (U3), in rising order."""
        self.total = np.zeros(terms.words, dtype=np.uint32)
        """The sum modulo 2^32 [words], uint32; masked until the last stage is over."""

    def requests(self, stage: int) -> Mapping[int, bytes]:
        """Return what is asked of each client in a stage; see `fedsec.api.Centre`."""
        return (self._invite, self._forward_keys, self._forward_shares, self._list, self._confirm)[stage]()

    def collect(self, stage: int, answers: Mapping[int, bytes]) -> None:
        """Take the answers that arrived in a stage; Refused if too few are valid."""
        take = (self._take_keys, self._take_shares, self._take_masked, self._take_agreement, self._take_unmasking)[
            stage
        ]
        valid = 0
        for client in sorted(answers):
            try:
                take(client, answers[client])
                valid += 1
            except Refused as reason:
                self.dropped[client] = str(reason)
        if valid < self._terms.threshold:
            raise Refused(
                f"{valid} clients took part in the stage '{STAGES[stage]}', the threshold is {self._terms.threshold}"
            )
        if stage == STAGES.index("share"):
            self._sharing = tuple(sorted(self._commitments))
        elif stage == STAGES.index("mask"):
            self.survivors = tuple(sorted(self.survivors))
        elif stage == STAGES.index("unmask"):
            self._take_masks_off()

    def _invite(self) -> dict[int, bytes]:
        return dict.fromkeys(self._terms.invited, self._terms.session)

    def _take_keys(self, client: int, content: bytes) -> None:
        if client not in self._terms.invited or not advertised(self._terms, client, content):
            raise Refused("its keys are not signed by it for this round")
        # Its neighbours would all stop at such keys, and the round with them.
        masking, sealing, _ = split(content, PUBLIC_BYTES, PUBLIC_BYTES)
        if masking == sealing or self._seen & {masking, sealing}:
            raise Refused("two public keys are the same")
        for key in (masking, sealing):
            self._trial.agree(key)
        self._seen |= {masking, sealing}
        self._keys[client] = content

    def _neighbours(self, client: int) -> tuple[int, ...]:
        return self._terms.neighbours_of(client, tuple(sorted(self._keys)))

    def _forward_keys(self) -> dict[int, bytes]:
        head = len(self._keys).to_bytes(4, "little") + join_numbers(sorted(self._keys))
        return {
            client: head + join_list({other: self._keys[other] for other in self._neighbours(client)})
            for client in self._keys
        }

    def _take_shares(self, client: int, content: bytes) -> None:
        own_mask, sealed = split(content, COMMITMENT_BYTES)
        found = split_list(sealed, SEALED_BYTES)
        if client not in self._keys or tuple(found) != self._neighbours(client):
            raise Refused("its shares are not for its neighbours")
        self._commitments[client] = own_mask
        for receiver, one in found.items():
            self._sealed.setdefault(receiver, {})[client] = one

    def _forward_shares(self) -> dict[int, bytes]:
        return {client: join_list(self._sealed.get(client, {})) for client in self._sharing}

    def _take_masked(self, client: int, content: bytes) -> None:
        if client not in self._sharing or len(content) != 4 * self._terms.words:
            raise Refused("its masked update is not of the model's length")
        self.total += np.frombuffer(content, dtype="<u4")
        self.survivors += (client,)

    def _list(self) -> dict[int, bytes]:
        return dict.fromkeys(self.survivors, join_numbers(self.survivors))

    def _take_agreement(self, client: int, content: bytes) -> None:
        if client not in self.survivors or not agreed(self._terms, client, content, self.survivors):
            raise Refused("it did not sign the list of clients in the sum")
        self._signatures[client] = content

    def _confirm(self) -> dict[int, bytes]:
        requests = {}
        for client in self._signatures:
            near = set(self._neighbours(client)) & set(self._sharing)
            gone = sorted(near - set(self.survivors))
            signed = {other: self._signatures[other] for other in (near | {client}) & self._signatures.keys()}
            lists = (self.survivors, tuple(gone))
            requests[client] = b"".join(
                len(numbers).to_bytes(4, "little") + join_numbers(numbers) for numbers in lists
            ) + join_list(signed)
        return requests

    def _take_unmasking(self, client: int, content: bytes) -> None:
        near = (set(self._neighbours(client)) & set(self._sharing)) | {client}
        found = split_list(content, KIND_BYTES + SHARE_BYTES)
        if client not in self._signatures or not found.keys() <= near:
            raise Refused("its shares are not of its neighbours")
        if any(one[:KIND_BYTES] != self._kind(owner) for owner, one in found.items()):
            raise Refused("its shares are not those that were asked for")
        for owner, one in found.items():
            value = int.from_bytes(one[KIND_BYTES:], "little")
            self._shares[self._kind(owner)].setdefault(owner, {})[client] = value

    def _kind(self, owner: int) -> bytes:
        return OF_MASK if owner in self.survivors else OF_KEY

    def _take_masks_off(self) -> None:
        """Take off the sum the self masks of who is in it, and what was shared with clients that are not."""
        session = self._terms.session
        for client in self.survivors:
            secret = self._recovered(OF_MASK, client)
            if commitment(self._terms, client, secret) != self._commitments[client]:
                raise Refused(f"the shares of client {client}'s own mask do not fit")
            add_self_mask(self.total, session, secret, subtract=True)
        for gone in sorted(set(self._sharing) - set(self.survivors)):
            present = [other for other in self._neighbours(gone) if other in self.survivors]
            if not present:
                continue
            pair = KeyPair(self._recovered(OF_KEY, gone))
            if pair.public != self._keys[gone][:PUBLIC_BYTES]:
                raise Refused(f"the shares of client {gone}'s key do not fit")
            for other in present:  # `other` put the mask on; the client that is gone would have cancelled it
                add_pairwise_mask(self.total, session, pair, gone, other, self._keys[other][:PUBLIC_BYTES])

    def _recovered(self, kind: bytes, client: int) -> bytes:
        try:
            return recover(self._shares[kind].get(client, {}), self._terms.shares_needed)
        except ValueError as error:
            raise Refused(f"the masks of client {client} cannot be taken off: {error}") from error
