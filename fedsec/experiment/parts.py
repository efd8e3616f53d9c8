"""Which parts an update has, as far as attacks need them."""

from fedsec.api import Asset, ModelSetup, Role

_SEPARATE = frozenset({Role.QUERY, Role.KEY, Role.VALUE})


def visible(sight: frozenset[Asset], setup: ModelSetup) -> frozenset[Asset]:
    """What a position sees when `setup` is what is trained: whole updates and models, and the parts that these have.

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
    if all(_shows_inputs(setup, layer) for layer in (0, 1)):
        seen.add(Asset.ATTENTION_INPUTS)
    if {"A", "B"} <= {p.factor for p in setup.parameters if p.name in setup.trainable}:
        seen.add(Asset.ADAPTERS)
    return frozenset(seen)


def _shows_inputs(setup: ModelSetup, layer: int) -> bool:
    """Whether what enters a layer's attention shows: through its matrices, apart or as one, or a LoRA factor on one."""
    trained = [p for p in setup.parameters if p.layer == layer and p.name in setup.trainable]
    roles = {p.role for p in trained}
    factors = {p.adapts for p in trained if p.factor == "A"}
    return roles >= _SEPARATE or Role.QUERY_KEY_VALUE in roles or bool(factors & (_SEPARATE | {Role.QUERY_KEY_VALUE}))
