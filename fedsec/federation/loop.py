"""Runs a federation: from the beginning, from honest rounds that cells share, or from a checkpoint."""

from collections.abc import Callable
from typing import Any

from fedsec.federation.checkpoint import Checkpoint
from fedsec.federation.outcome import Outcome
from fedsec.federation.parties import Federation
from fedsec.federation.prefix import Prefix
from fedsec.federation.session import Session
from fedsec.store.bundle import check_tree


def run(federation: Federation, checkpoint: Checkpoint | None = None, prefix: Prefix | None = None) -> Outcome:
    """Run all rounds, or those that a checkpoint or shared honest rounds leave.

    Args:
        federation: what runs.
        checkpoint: where progress is kept; None keeps none.
        prefix: the honest rounds that this training shares with others; None shares none.
    """
    kept = checkpoint.load() if checkpoint else None
    session = _taken_up(federation, kept, lambda session, state: session.load_state(state))
    for text in session.notices():
        federation.on_notice(text)
    if prefix is None or session.done > prefix.rounds:
        return _finished(session, federation, checkpoint)
    with prefix.alone():
        shared = prefix.load() if session.done == 0 else None
        if shared is not None and shared["done"] == prefix.rounds:
            session = _taken_up(federation, shared, lambda session, state: session.load_state(state, honest_only=True))
        while session.done < prefix.rounds:
            _round(session, checkpoint)
            if session.done == prefix.rounds:
                prefix.save(session.state())
    session.begin_watching()
    return _finished(session, federation, checkpoint)


def _finished(session: Session, federation: Federation, checkpoint: Checkpoint | None) -> Outcome:
    while session.done < federation.settings.rounds:
        _round(session, checkpoint)
    return session.outcome()


def _round(session: Session, checkpoint: Checkpoint | None) -> None:
    session.round()
    if checkpoint and session.done == 1:
        check_tree(session.state())  # said at once, and not only where a run is long enough to be kept
    if checkpoint and checkpoint.due():
        checkpoint.save(session.state())


def _taken_up(
    federation: Federation, kept: dict[str, Any] | None, take_up: Callable[[Session, dict[str, Any]], None]
) -> Session:
    """Return the round at which a state ends; 0 where there is none, or none that fits."""
    session = Session(federation)
    if kept is None:
        return session
    try:
        take_up(session, kept)
    except Exception:  # damage that reads well, or a plug-in that cannot take up its own state
        federation.stack = federation.stack.fresh()
        federation.vault.secrets.clear()
        federation.store.clear()
        for watcher in federation.watchers:
            watcher.reset()
        return Session(federation)
    return session
