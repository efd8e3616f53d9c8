"""Visibility: what each position sees of whole updates and models, and of their parts."""

from fedsec.api import Aggregation, Asset, Keys, ModelSetup, Position, Role

_WHOLE = frozenset({Asset.ROWS, Asset.AGGREGATE, Asset.GLOBAL_MODEL})
_SUM = frozenset({Asset.AGGREGATE, Asset.GLOBAL_MODEL})
_NOTHING = frozenset[Asset]()

_SEEN = {
    Position.SERVER: {
        Aggregation.PLAIN: _WHOLE,
        Aggregation.SECURE: _SUM,
        Aggregation.HOMOMORPHIC: _NOTHING,
    },
    Position.KEY_HOLDER: {
        Aggregation.PLAIN: _NOTHING,
        Aggregation.SECURE: _NOTHING,
        Aggregation.HOMOMORPHIC: _SUM,
    },
    # The step from one global model to the next shows a client, or an eavesdropper, the sum.
    Position.CLIENT: dict.fromkeys(Aggregation, _SUM),
    Position.WIRE: {
        Aggregation.PLAIN: _WHOLE,
        Aggregation.SECURE: _SUM,
        Aggregation.HOMOMORPHIC: _NOTHING,
    },
    Position.RELEASED_MODEL: dict.fromkeys(Aggregation, frozenset({Asset.RELEASED_MODEL})),
    Position.SUPPLIER: dict.fromkeys(Aggregation, _NOTHING),
}
RELEASED = frozenset({Position.SERVER, Position.CLIENT, Position.KEY_HOLDER, Position.RELEASED_MODEL})
"""Positions that receive the trained model: all but the wire, which does not carry it."""


_SEPARATE = frozenset({Role.QUERY, Role.KEY, Role.VALUE})
_QUERIES = frozenset({Role.QUERY, Role.QUERY_KEY_VALUE})


def seen(
    parties: frozenset[Position],
    aggregation: Aggregation,
    *,
    tls: bool = False,
    others: int | None = None,
    keys: Keys | None = None,
    in_clear: bool = False,
) -> frozenset[Asset]:
    """Return what colluding parties see together of whole updates and models; the tuning decides on their parts.

    Args:
        parties: the positions that share what they see, clients of the round among them where some collude; the
            adversary's own is one of them.
        aggregation: what the server can read.
        tls: whether the wire is encrypted.
        others: clients of the cohort that are not among the parties; None if the round is not known yet.
        keys: who decrypts homomorphic sums; None where a key holder does that gets nothing but the sum. An authority
            gets every ciphertext, since it adds up itself what it decrypts.
        in_clear: whether homomorphic aggregation leaves a part of each update unencrypted, and it is this part of
            updates and models that is asked about.
    """
    found = frozenset[Asset]().union(
        *(_SEEN[party][aggregation] for party in parties if not (party == Position.WIRE and tls))
    )
    holder = Position.CLIENT if keys == Keys.SHARED else Position.KEY_HOLDER
    if {Position.SERVER, holder} <= parties or (Position.KEY_HOLDER in parties and keys == Keys.AUTHORITY):
        found |= _WHOLE  # what one receives the other, or the same one, decrypts
    if Position.WIRE in parties and keys == Keys.AUTHORITY and not tls:
        found |= _SUM  # the authority sends clients the model as it is
    if Asset.GLOBAL_MODEL in found and parties & RELEASED:
        found |= {Asset.RELEASED_MODEL}  # the last global model, as it is handed out
    # The sum less the colluders' updates is the one that is left; a single update is its own sum.
    inside = bool(parties & {Position.SERVER, Position.CLIENT})
    if others == 1 and inside and Asset.AGGREGATE in found:
        found |= {Asset.ROWS}
    reads = Position.SERVER in parties or (Position.WIRE in parties and not tls)
    return found | _WHOLE if in_clear and reads else found


def visible(sight: frozenset[Asset], setup: ModelSetup) -> frozenset[Asset]:
    """Return what a position sees when `setup` is what is trained: whole updates and models, and their parts.

    Args:
        sight: the whole updates and models that it sees.
        setup: what is trained.
    """
    if not sight & {Asset.ROWS, Asset.AGGREGATE}:
        return sight
    roles = {(p.role, p.layer) for p in setup.parameters if p.name in setup.trainable}
    seen = set(sight)
    if any(role == Role.WORD_EMBEDDING for role, _ in roles):
        seen.add(Asset.WORD_EMBEDDINGS)
    if any(role == Role.POSITION_EMBEDDING for role, _ in roles):
        seen.add(Asset.POSITION_EMBEDDINGS)
    if _shows_inputs(setup, 0):
        seen.add(Asset.ATTENTION_INPUTS)
    if any({p.role, p.adapts} & _QUERIES for p in setup.parameters if p.name in setup.trainable):
        seen.add(Asset.QUERY_UPDATES)
    if {"A", "B"} <= {p.factor for p in setup.parameters if p.name in setup.trainable}:
        seen.add(Asset.ADAPTERS)
    return frozenset(seen)


def _shows_inputs(setup: ModelSetup, layer: int) -> bool:
    """Return whether the inputs of a layer's attention are visible: by its matrices or a LoRA factor on one."""
    trained = [p for p in setup.parameters if p.layer == layer and p.name in setup.trainable]
    roles = {p.role for p in trained}
    factors = {p.adapts for p in trained if p.factor == "A"}
    return roles >= _SEPARATE or Role.QUERY_KEY_VALUE in roles or bool(factors & (_SEPARATE | {Role.QUERY_KEY_VALUE}))
