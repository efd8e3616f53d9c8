"""Cards of the defenses that add updates up so that nobody reads a single one."""

from collections.abc import Mapping
from math import floor

from fedsec.api import Aggregation, DefenseCard, Parameter, Population, Provenance

_Params = Mapping[str, bool | int | float | str]

_UNLIKELY = 0.001
"""Chance of too many colluders that a guarantee may leave, as for the malicious clients of a sampled round."""
_RANGE = Parameter(
    name="range",
    default=8.0,
    summary="the largest magnitude of an entry; what lies outside saturates at it, and is counted",
    unit="the update's own unit",
    provenance=Provenance.GUESS,
    minimum=1e-9,
    maximum=1e6,
)
_THRESHOLD = Parameter(
    name="threshold",
    default=2 / 3,
    summary="fraction of the round's clients of which more have to stay to the end",
    unit="fraction",
    minimum=0.5,
    maximum=0.999,
)


def _enough(population: Population, params: _Params) -> str | None:
    """Two clients know each other's update from the sum, and a round's words have room for so many levels."""
    clients = population.clients
    if clients < 3:
        return f"secure aggregation needs n >= 3 clients in a round, has {clients}: two read each other in the sum"
    if clients > 1 << 24:
        return f"sums of {clients} updates leave fewer than 7 bits of a 32-bit word"
    return None


def _outvoted(population: Population, params: _Params) -> str | None:
    allowed = 2 * _bound(population, params) - population.clients - 1
    if population.colluding > allowed:
        return f"it holds for up to {allowed} clients that collude with the server, and {population.colluding} may"
    return None


def _surrounded(population: Population, params: _Params) -> str | None:
    """Each neighbourhood is a round of its own, in which colluders meet as the circle is drawn."""
    clients, colluding = population.clients, min(population.colluding, population.clients - 1)
    size = min(int(params["neighbours"]) + 1, clients)
    allowed = 2 * -(-_bound(population, params) * size // clients) - size - 1
    if colluding <= allowed:
        return None
    from scipy.stats import hypergeom  # takes half a second to import

    chance = min(1.0, (clients - colluding) * float(hypergeom.sf(allowed, clients - 1, colluding, size - 1)))
    if chance <= _UNLIKELY:
        return None
    return f"up to {allowed} neighbours may collude with the server; in {chance:.1%} of rounds more of somebody's do"


def _bound(population: Population, params: _Params) -> int:
    return floor(float(params["threshold"]) * population.clients + 1e-9) + 1


def _even(population: Population, params: _Params) -> str | None:
    if int(params["neighbours"]) % 2:
        return f"neighbours must be even, is {params['neighbours']}: a client has half of them on each side"
    return _enough(population, params)


def _decryptable(population: Population, params: _Params) -> str | None:
    """Sums of two fields have room for few clients, and an authority decrypts no sum of fewer than two."""
    clients, two = population.clients, int(params.get("fields", 1)) == 2
    most = (16 if params["keys"] == "shared" else 12) if two else 1000
    if not 2 <= clients <= most:
        what = "with two fields in a slot and this kind of key" if two else "of ciphertexts"
        return f"sums {what} hold 2 to {most} updates, a round has {clients}"
    return None


def _within_scale(population: Population, params: _Params) -> str | None:
    total = population.clients * float(params["range"])
    if total > 1 << 30:
        return f"sums of {population.clients} updates within +-{params['range']:g} overflow: use a smaller range"
    return _decryptable(population, params)


def _unflooded(population: Population, params: _Params) -> str | None:
    if not int(params["flooding"]):
        return "the model that is released is made of sums without flooding, and a sum's error tells of the key"
    return None


_KEYS = Parameter(
    name="keys",
    default="authority",
    summary="who has the secret key: one party that decrypts, or every client",
    choices=("authority", "shared"),
)
_IN_A_SUM = Parameter(
    name="threshold",
    default=0.5,
    summary="fraction of the round's clients of which more have to be in a sum that is decrypted",
    unit="fraction",
    provenance=Provenance.GUESS,
    minimum=0.0,
    maximum=0.999,
)
_ENCRYPTED = Parameter(
    name="encrypted",
    default=1.0,
    summary="share of the parameters that is encrypted, the first whole tensors in it; other updates are readable",
    unit="fraction",
    minimum=0.0,
    maximum=1.0,
)
_HE_LIMITS = (
    "The server cannot act on the sum or the model: the authority, or each client under shared keys, takes its step.",
    "Who has the key reads every update: the authority alone, and under shared keys a server with one client.",
    "A malicious client can set the mean to anything within the range, and beyond it (he-ckks), or stop a round.",
)

CARDS = (
    DefenseCard(
        name="secagg",
        summary="Clients mask their updates, and the server reads the sum alone; clients may drop out at every stage.",
        target="fedsec.defenses.secure_aggregation.secagg.secagg:SecAgg",
        parameters=(_RANGE, _THRESHOLD),
        protects="privacy",
        aggregation=Aggregation.SECURE,
        rests_on="of n clients, at most n/3 collude with the server, at the default threshold",
        guarantee="The server, malicious or not, learns the sum of more than `threshold` of the round's updates and "
        "nothing else (Bonawitz et al., CCS 2017, theorem 6.5); nothing is promised about what the sum shows.",
        assumption_broken=_outvoted,
        precondition=_enough,
        paper="Bonawitz et al., CCS 2017, figure 4.",
        deviations="a digest of the self mask's seed shows wrong shares; fixed-point updates of one step",
        limits=(
            "The sum itself shows what it shows: attacks on sums and on the released model go on.",
            "A malicious client can set the mean to anything within the range, or stop a round by wrong shares unseen.",
            "Signature keys are taken as known to all; who is invited to a round is the server's to choose.",
        ),
        passes=300.0,
        cost="CPU 6 ms a client and 8 ms at the server at 12 clients and 74,498 parameters; 1.006 times fp32 up",
    ),
    DefenseCard(
        name="secagg-plus",
        summary="Secure aggregation in which each client shares masks with some others, for rounds of many clients.",
        target="fedsec.defenses.secure_aggregation.secagg.secagg_plus:SecAggPlus",
        parameters=(
            Parameter(
                name="neighbours",
                default=20,
                summary="others with whom a client shares masks, an even number",
                unit="clients",
                provenance=Provenance.GUESS,
                minimum=2,
                maximum=1000,
            ),
            _RANGE,
            _THRESHOLD,
        ),
        protects="privacy",
        aggregation=Aggregation.SECURE,
        rests_on="fewer than a third of every neighbourhood collude with the server",
        guarantee="A curious server learns the sum alone, but for the chance that too many colluders are somebody's "
        "neighbours (Bell et al., CCS 2020, section 3).",
        assumption_broken=_surrounded,
        precondition=_even,
        paper="Bell et al., CCS 2020, section 3.",
        deviations="the graph follows from the session and the advertised clients, by everybody alike",
        limits=(
            "A malicious server chooses the session and who is listed, and may try until colluders sit together.",
            "More than a third of one neighbourhood that drops out stops the round.",
            "The sum itself shows what it shows: attacks on sums and on the released model go on.",
        ),
        passes=300.0,
        cost="CPU 42 ms a client at 50 clients, 20 neighbours and a million parameters, 88 ms with all as neighbours",
    ),
    DefenseCard(
        name="he-bfv",
        summary="Clients encrypt their updates, the server adds ciphertexts up, and the decrypted sum is exact.",
        target="fedsec.defenses.secure_aggregation.homomorphic.he_bfv:HEBFV",
        parameters=(
            _KEYS,
            Parameter(
                name="fields",
                default=1,
                summary="entries in a slot; two take half the bytes and leave 14 to 17 bits for each",
                provenance=Provenance.MEASURED,
                minimum=1,
                maximum=2,
            ),
            _RANGE,
            _IN_A_SUM,
            _ENCRYPTED,
        ),
        protects="privacy",
        aggregation=Aggregation.HOMOMORPHIC,
        keys="keys",
        encrypts="encrypted",
        rests_on="who has the key, and so can read every update, does not collude with the server",
        guarantee="The server learns nothing, by the ring-LWE assumption at 128 bits; nothing is promised about what "
        "the sum shows to who decrypts it, or the model to who trains it.",
        precondition=_decryptable,
        paper="Fan and Vercauteren, IACR 2012/144; SEAL 4.1.",
        deviations="two signed fields in a slot; the authority adds the signed ciphertexts up itself",
        limits=_HE_LIMITS,
        passes=800.0,
        cost="bytes per parameter: 7.6 up and 15.1 down (shared), 15.1 up and 4 down (authority); half with two fields",
    ),
    DefenseCard(
        name="he-ckks",
        summary="Clients encrypt their updates, the server adds ciphertexts up, and the sum has a small error.",
        target="fedsec.defenses.secure_aggregation.homomorphic.he_ckks:HECKKS",
        parameters=(
            _KEYS,
            Parameter(
                name="flooding",
                default=30,
                summary="bits of security of the noise that who decrypts adds to the sum; 0 adds none",
                unit="bits",
                provenance=Provenance.GUESS,
                minimum=0,
                maximum=40,
            ),
            _RANGE,
            _IN_A_SUM,
            _ENCRYPTED,
        ),
        protects="privacy",
        aggregation=Aggregation.HOMOMORPHIC,
        keys="keys",
        encrypts="encrypted",
        rests_on="who has the key, and so can read every update, does not collude with the server",
        guarantee="The server learns nothing, by the ring-LWE assumption at 128 bits, as long as nobody without the "
        "key sees a decrypted sum without `flooding`.",
        assumption_broken=_unflooded,
        precondition=_within_scale,
        paper="Cheon et al., ASIACRYPT 2017; Li et al., CRYPTO 2022 (flooding); SEAL 4.1.",
        deviations="two entries in a complex slot; division after decryption; the authority adds ciphertexts up itself",
        limits=_HE_LIMITS,
        passes=800.0,
        cost="bytes per parameter: 7.6 up and 15.1 down (shared), 15.1 up and 4 down (authority)",
    ),
)
