"""`fedsec list`: what is registered."""

import json
from enum import StrEnum
from typing import Annotated, Any

import typer

from fedsec import registry
from fedsec.cli.options import AllowPlugins, allow


class Kind(StrEnum):
    """What can be listed."""

    ATTACKS = "attacks"
    DEFENSES = "defenses"
    GOALS = "goals"
    METRICS = "metrics"
    SCENARIOS = "scenarios"
    MODELS = "models"
    DATASETS = "datasets"


def list_cards(
    kind: Annotated[Kind | None, typer.Argument(help="What to list; everything if left out.")] = None,
    plugins: AllowPlugins = [],  # noqa: B006
    as_json: Annotated[bool, typer.Option("--json", envvar="FEDSEC_JSON", help="One JSON array of cards.")] = False,
) -> None:
    """List attacks, defenses, goals, metrics, scenarios, models and datasets."""
    allow(plugins)
    cards = [card for wanted in ([kind] if kind else Kind) for card in _cards(wanted)]
    if as_json:
        typer.echo(json.dumps(cards, indent=1, ensure_ascii=False))
        return
    width = max((len(card["name"]) for card in cards), default=0)
    shown = None
    for card in cards:
        if kind is None and card["kind"] != shown:
            typer.echo(f"{'' if shown is None else chr(10)}{card['kind']}")
            shown = card["kind"]
        typer.echo(f"  {card['name']:<{width}}  {card['summary']}")
    for group in _registries().values():
        for name, reason in group.broken.items():
            typer.echo(f"broken plug-in {name}: {reason}", err=True)
    if kind is None:
        typer.echo("\nMore about one of them: fedsec show NAME")


def _registries() -> dict[Kind, registry.Registry[Any]]:
    return {
        Kind.ATTACKS: registry.attacks(),
        Kind.DEFENSES: registry.defenses(),
        Kind.GOALS: registry.goals(),
        Kind.METRICS: registry.metrics(),
        Kind.MODELS: registry.models(),
        Kind.DATASETS: registry.datasets(),
    }


def _cards(kind: Kind) -> list[dict[str, Any]]:
    if kind == Kind.SCENARIOS:
        from fedsec.config.shipped import shipped

        return [{"kind": kind.value, "name": name, "summary": summary} for name, summary in shipped()]
    return [{"kind": kind.value, **card.describe()} for card in _registries()[kind]]
