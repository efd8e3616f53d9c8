"""The canaries of an audit: who may train on them, and at which parameter each one's gradient lies."""

import numpy as np

from fedsec.api import Canary, Unit
from fedsec.config.schema import Scenario
from fedsec.errors import FedsecError
from fedsec.seeds import SeedTree


def canaries_of(scenario: Scenario, parameters: int, seeds: SeedTree) -> tuple[Canary, ...]:
    """Return the scenario's canaries, dealt to clients in turn; none without `data.canaries`.

    Args:
        scenario: of the cell.
        parameters: how many are trained.
        seeds: the cell's.

    Raises:
        FedsecError: fewer parameters are trained than a client has canaries, or there are too few clients.
    """
    wanted = scenario.data.canaries
    if wanted is None:
        return ()
    clients, draw = scenario.federation.clients, seeds.numpy("canaries")
    if wanted.of == "clients":
        return _clients(wanted.count, clients, parameters, wanted.norm, draw)
    most = -(-wanted.count // clients)
    if most > parameters:
        raise FedsecError(
            f"data.canaries.count is {wanted.count:,}, which is {most:,} for a client, and only {parameters:,} "
            "parameters are trained; lower it, or train more of the model (model.tuning)"
        )
    if wanted.count <= parameters:
        places = draw.choice(parameters, size=wanted.count, replace=False)
    else:  # clients share parameters: in the sum of their updates canaries would mix
        own = [draw.choice(parameters, size=most, replace=False) for _ in range(clients)]
        places = np.stack(own, axis=1).reshape(-1)[: wanted.count]
    return tuple(Canary(number % clients, int(place), wanted.norm) for number, place in enumerate(places))


def _clients(count: int, clients: int, parameters: int, norm: float, draw: np.random.Generator) -> tuple[Canary, ...]:
    """Clients that are canaries, drawn from all of them, each with a parameter of its own."""
    if count > min(clients, parameters):
        raise FedsecError(
            f"data.canaries.count is {count:,} of clients, and there are {clients:,} clients and {parameters:,} "
            "trained parameters; raise federation.clients, or lower it"
        )
    chosen, places = (draw.choice(of, size=count, replace=False) for of in (clients, parameters))
    return tuple(
        Canary(int(client), int(place), norm, Unit.CLIENT) for client, place in zip(chosen, places, strict=True)
    )
