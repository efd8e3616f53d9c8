"""How many malicious clients a defense has to expect in a round that samples some of the clients."""


def declared_in_round(
    clients: int, cohort: int, declared: int, quantile: float = 0.999, *, fixed: bool = False, poisson: bool = False
) -> int:
    """The f of a sampled round: with probability `quantile` no more of the declared are in the cohort.

    Args:
        clients: clients that exist.
        cohort: clients drawn without replacement, or on average.
        declared: how many of all clients the defense believes malicious.
        quantile: of the hypergeometric distribution, or of the binomial one.
        fixed: malicious clients are in every cohort.
        poisson: each client is drawn by a coin of its own.

    Raises:
        ValueError: a negative number, more malicious clients or a larger cohort than clients, or a quantile
            outside (0, 1).
    """
    if not (0 <= declared <= clients and 0 <= cohort <= clients and 0 < quantile < 1):
        raise ValueError(f"no population: {clients=}, {cohort=}, {declared=}, {quantile=}")
    if fixed:
        return min(declared, cohort)
    if cohort == clients or declared == 0:
        return declared
    from scipy.stats import binom, hypergeom  # takes half a second to import

    if poisson:
        return int(binom.ppf(quantile, declared, cohort / clients))

    return int(hypergeom.ppf(quantile, clients, declared, cohort))
