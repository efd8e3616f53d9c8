"""Card of DAGER."""

from fedsec.api import Asset, AttackCard, Behaviour, Parameter, Position, Provenance, ThreatModel

_SERVER = "one round's updates and the broadcast model; about a second of one core per text"


def _residual(name: str, default: float, summary: str, provenance: Provenance) -> Parameter:
    return Parameter(
        name=name,
        default=default,
        summary=summary,
        unit="residual: distance from the span over the norm",
        provenance=provenance,
        minimum=0.0,
        maximum=1.0,
    )


def _factor(
    name: str, default: float, summary: str, unit: str, provenance: Provenance, least: float = 0.0
) -> Parameter:
    return Parameter(
        name=name, default=default, summary=summary, unit=unit, provenance=provenance, minimum=least, maximum=1e6
    )


def _count(name: str, default: int, summary: str, provenance: Provenance, least: int = 1) -> Parameter:
    return Parameter(
        name=name, default=default, summary=summary, provenance=provenance, minimum=least, maximum=100_000_000
    )


_SPANS = (
    _residual(
        "tolerance",
        2e-6,
        "accepted where only fp32 rounding blurs a span (true ones on MiniLM: under 5e-7)",
        Provenance.MEASURED,
    ),
    _factor(
        "slack",
        6.0,
        "accepted residual in units of what noise explains (true ones: under 2.5); 0: fixed tolerances",
        "noise",
        Provenance.MEASURED,
    ),
    _residual("blur", 0.3, "largest in the first layer that noise is believed to explain", Provenance.GUESS),
    _residual(
        "ceiling",
        1e-2,
        "largest of a token of a verified text (best wrong text on MiniLM: 2.8e-2)",
        Provenance.MEASURED,
    ),
    _residual(
        "hidden",
        1e-2,
        "noise that explains more of the begin token hides weak directions: no text can be told for certain",
        Provenance.GUESS,
    ),
    _factor(
        "telling",
        1.5,
        "largest residual of a candidate of such a span (true ones: 0.9 to 1.2)",
        "noise",
        Provenance.MEASURED,
        0.1,
    ),
    _count("crowd", 4, "candidates per position of such a span, over twice the most texts", Provenance.GUESS),
    _residual(
        "partial",
        1e-3,
        "nearest in the first layer up to which tokens are claimed at their places, unverified",
        Provenance.GUESS,
    ),
)

_VERIFIED = (
    _factor(
        "depth",
        3.0,
        "the second layer's tolerances over the first's",
        "first layer's tolerance",
        Provenance.MEASURED,
        0.1,
    ),
    _residual(
        "clear",
        2e-5,
        "where less is allowed, a wrong token tells by itself (MiniLM: true 4e-7, wrong from 2e-2 on)",
        Provenance.MEASURED,
    ),
    _factor(
        "contrast",
        3.0,
        "elsewhere a verified text's residual is below every neighbour's by this factor",
        "text's residual",
        Provenance.GUESS,
        1.0,
    ),
    _factor(
        "far",
        10.0,
        "or the neighbour has a token this many times further off than is allowed",
        "allowed residual",
        Provenance.GUESS,
        1.0,
    ),
)

_CONTEXTS = (
    Parameter(
        name="contexts",
        default=True,
        summary="on encoders solve for what attention gave each candidate and who shares a text; paper: no",
        provenance=Provenance.MEASURED,
    ),
    _count(
        "open_directions",
        64,
        "directions that the linear equations may leave open (MiniLM, 195 tokens: 64); with more, texts are searched",
        Provenance.MEASURED,
        0,
    ),
    _count("steps", 16, "Gauss-Newton steps along these (true candidates on MiniLM: 3 to 12)", Provenance.MEASURED),
    _factor(
        "fall",
        0.85,
        "a candidate whose misfit falls less in a step is given up (wrong ones on MiniLM: 0.9 and more)",
        "misfit before the step",
        Provenance.MEASURED,
    ),
    _count("patience", 6, "steps before that is asked of candidates that are tried again", Provenance.GUESS, 0),
    _count("retries", 3, "how often the nearest of those that did not pass are tried again", Provenance.GUESS, 0),
)

_SEARCH = (
    Parameter(
        name="links",
        default=True,
        summary="assemble an encoder's texts by a pursuit of single tokens' updates; paper: no",
        provenance=Provenance.MEASURED,
    ),
    _count(
        "beam",
        6,
        "partial texts per step of the pursuit where one leads nowhere (MiniLM, batch 16: 3 of 4 left)",
        Provenance.MEASURED,
    ),
    _residual(
        "explained",
        1.67e-5,
        "of a token's update, mean over heads, that only a true text leaves (fp32 on MiniLM: 2e-7 to 4e-6)",
        Provenance.MEASURED,
    ),
    _factor("explained_slack", 4.5, "the same under noise", "noise", Provenance.GUESS, 1.0),
    _count("restarts", 8, "restarts of the descent per wave, run as one batch", Provenance.MEASURED),
    _count("rounds", 20, "waves of restarts per possible length of a text", Provenance.MEASURED, 0),
    _count("sweeps", 10, "most passes over a text's positions per restart", Provenance.GUESS),
    _count(
        "shortlist", 4, "tokens per position that a sweep tries, after a first look at all of them", Provenance.MEASURED
    ),
    _factor(
        "alike",
        0.7,
        "an unverified text that agrees so far with a surer one is left out",
        "share of places",
        Provenance.GUESS,
    ),
    _count(
        "enumerated",
        512,
        "texts of one length that are judged one by one, at most; official code: 10,000,000",
        Provenance.MEASURED,
        0,
    ),
)

_BUDGETS = (
    _count(
        "evaluations",
        120_000,
        "all work per update, in texts of 16 tokens run through a layer; of a decoder, prefixes per eight texts",
        Provenance.MEASURED,
    ),
    _count("blurred_evaluations", 15_000, "the same where noise keeps texts from being verified", Provenance.GUESS),
    _count("unsure_evaluations", 3_000, "the same where not even begin and end tokens are told", Provenance.GUESS),
)

_DECODER = (
    _factor(
        "decoder_near",
        20.0,
        "a decoder's tolerance in the first layer (true tokens of a trained GPT-2: up to 1e-5)",
        "`tolerance`",
        Provenance.MEASURED,
        0.1,
    ),
    _factor("decoder_far", 3.0, "a decoder's tolerance in the second layer", "`tolerance`", Provenance.MEASURED, 0.1),
    _factor(
        "decoder_gap",
        2.0,
        "a decoder's text is verified if no continuation lay between the tolerance and this",
        "tolerance",
        Provenance.GUESS,
        1.0,
    ),
    _count("decoder_beam", 2, "prefixes followed where noise admits more, over the most texts", Provenance.GUESS),
    _count("decoder_tokens", 2048, "tokens per position that are kept where noise admits more", Provenance.GUESS),
    _factor(
        "end_share",
        0.02,
        "a decoder's text is whole from this share of the end token's largest part on",
        "largest part",
        Provenance.MEASURED,
    ),
)

_PARAMETERS = (*_SPANS, *_VERIFIED, *_CONTEXTS, *_SEARCH, *_BUDGETS, *_DECODER)

CARDS = (
    AttackCard(
        name="dager",
        summary="Reads batches of texts off the row spaces of two layers' attention gradients, single or summed.",
        target="fedsec.attacks.reconstruction.dager.attack:Dager",
        parameters=_PARAMETERS,
        paper="Petrov et al., DAGER: Exact Gradient Inversion for Large Language Models, NeurIPS 2024, sections 4-5.",
        deviations=(
            "the paper's assembly of an encoder's texts is `contexts: false`, `links: false`, `rounds: 0`, "
            "`enumerated: 10000000`, and its fixed tolerances are"
            " `slack: 0`, `tolerance: 1e-5`; the defaults solve for each candidate's "
            "attention output with the updates of the first layer's output projection and feed-forward part, then "
            "pursue what single tokens received, then descend on the second layer. Always: stacked query, key and "
            "value updates, or LoRA factors A; rank at the largest relative gap instead of an absolute one; a "
            "decoder's prefixes tested at their last position only, and verified only if all states together are as "
            "many as the span has directions; identical texts of a batch are claimed once; tokens at their places, "
            "unverified, where the second layer tells less than the first"
        ),
        limits=(
            "Silent from as many tokens per update (or sum) as the hidden size on; long texts of encoders are "
            "incomplete from somewhat over half as many on.",
            "Nothing is verified under dropout, noise, rounding or masks; LoRA needs a trained B and enough rank.",
            "A decoder's text that begins another leaves no trace; a classifier's last layer tells no texts apart.",
        ),
        cost="MiniLM on one core: about 2 s per batch of up to 8, up to 20 s; at 16 a median of 6 s, up to 100 s; "
        "GPT-2 of 6 x 384 with 50,257 words: 6 to 25 s at batch 8 and 16 on a shared core",
        threat=ThreatModel(
            position=Position.SERVER,
            behaviour=Behaviour.CURIOUS,
            goal="reconstruction",
            needs=frozenset({Asset.AGGREGATE, Asset.ATTENTION_INPUTS}),
            budget=_SERVER,
        ),
        adaptive_to=("gaussian-noise", "gradient-pruning", "quantization"),
    ),
)
