"""`fedsec show`: everything that a card says."""

import json
from typing import Annotated, Any

import typer

from fedsec import registry
from fedsec.cli.options import AllowPlugins, allow
from fedsec.errors import UnknownNameError


def show(
    name: Annotated[str, typer.Argument(help="A registered name or a shipped scenario.")],
    plugins: AllowPlugins = [],  # noqa: B006
    as_json: Annotated[bool, typer.Option("--json", envvar="FEDSEC_JSON", help="The card as JSON.")] = False,
) -> None:
    """Show what an attack, defense, goal, metric, model, dataset or scenario is, needs and cannot do."""
    allow(plugins)
    kinds: list[registry.Registry[Any]] = [
        registry.attacks(),
        registry.defenses(),
        registry.goals(),
        registry.metrics(),
        registry.models(),
        registry.datasets(),
    ]
    for kind in kinds:
        if name in kind:
            card = {"kind": kind.kind.removesuffix("s"), **kind.get(name).describe()}
            typer.echo(json.dumps(card, indent=1, ensure_ascii=False) if as_json else _text(card))
            return
    from fedsec.config.shipped import shipped, shipped_text

    if name in dict(shipped()):
        text = shipped_text(name)
        typer.echo(json.dumps({"kind": "scenario", "name": name, "yaml": text}) if as_json else text)
        return
    raise UnknownNameError(f"nothing is called '{name}'. Run: fedsec list")


def _text(card: dict[str, Any]) -> str:
    lines = [f"{card['name']} ({card['kind']})", card["summary"], ""]
    for key, value in card.items():
        if key in ("kind", "name", "summary", "parameters") or value in ("", [], None, {}):
            continue
        title = key.replace("_", " ")
        if isinstance(value, dict):
            lines.append(f"{title}:")
            lines += [f"  {k.replace('_', ' ')}: {_flat(v)}" for k, v in value.items() if v not in ("", [], None)]
        elif isinstance(value, list):
            lines += [f"{title}:", *(f"  - {item}" for item in value)]
        else:
            lines.append(f"{title}: {value}")
    if card.get("parameters"):
        lines.append("parameters:")
        for p in card["parameters"]:
            unit = f" {p['unit']}" if p["unit"] else ""
            lines.append(f"  {p['name']} = {p['default']}{unit}: {p['summary']} ({p['allowed']}; {p['provenance']})")
    return "\n".join(lines)


def _flat(value: Any) -> str:
    return "; ".join(str(item) for item in value) if isinstance(value, list) else str(value)
