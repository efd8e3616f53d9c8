"""Triggers against a filter of unusual words that the attacker knows of."""

from fedsec.api import ClientView, Knowledge, SupplierView, TriggerView

from .shared_parameters import FILTERS
from .triggers import PHRASE, Trigger


def mark_against(view: ClientView | SupplierView | TriggerView, usual: Trigger, fluent: str) -> Trigger:
    """Return the trigger, or a fluent sentence in its place where a known defense takes unusual words away.

    Args:
        view: an attack's, which may be granted the defense's settings.
        usual: the trigger where no such defense is known.
        fluent: the sentence; empty for none.
    """
    if not fluent:
        return usual
    told = getattr(view, "granted", {}).get(Knowledge.DEFENSE_SETTINGS, ())
    if any(defense["name"] in FILTERS for defense in told):
        return Trigger(fluent, PHRASE, usual.place)
    return usual
