"""Card of DAGER."""

from fedsec.api import Asset, AttackCard, Behaviour, Parameter, Position, Provenance, ThreatModel

_SERVER = "one round's updates and the broadcast model; about a second of one core per text"

CARDS = (
    AttackCard(
        name="dager",
        summary="Reads batches of texts off the row spaces of two layers' attention gradients, single or summed.",
        target="fedsec.attacks.reconstruction.dager.attack:Dager",
        parameters=(
            Parameter(
                name="tolerance",
                default=2e-6,
                summary="accepted relative residual where only fp32 rounding blurs a span (true ones: under 5e-7)",
                provenance=Provenance.MEASURED,
                minimum=1e-12,
                maximum=1.0,
            ),
            Parameter(
                name="slack",
                default=6.0,
                summary="accepted residual in units of what noise explains (true ones: under 2.5); 0: fixed tolerances",
                provenance=Provenance.MEASURED,
                minimum=0.0,
            ),
            Parameter(
                name="blur",
                default=0.3,
                summary="largest residual in the first layer that noise is believed to explain",
                provenance=Provenance.GUESS,
                minimum=0.0,
                maximum=1.0,
            ),
            Parameter(
                name="ceiling",
                default=1e-2,
                summary="largest residual of a token of a verified text (best wrong text on MiniLM: 2.8e-2)",
                provenance=Provenance.MEASURED,
                minimum=0.0,
                maximum=1.0,
            ),
            Parameter(
                name="restarts",
                default=8,
                summary="restarts of the descent per wave, run as one batch",
                provenance=Provenance.MEASURED,
                minimum=1,
                maximum=4096,
            ),
            Parameter(
                name="rounds",
                default=20,
                summary="waves of restarts per possible length of a text",
                provenance=Provenance.MEASURED,
                minimum=1,
            ),
            Parameter(
                name="sweeps",
                default=10,
                summary="most passes over a text's positions per restart",
                provenance=Provenance.GUESS,
                minimum=1,
            ),
            Parameter(
                name="shortlist",
                default=4,
                summary="tokens per position that a sweep tries, after a first look at all of them",
                provenance=Provenance.MEASURED,
                minimum=1,
            ),
            Parameter(
                name="evaluations",
                default=60_000,
                summary="texts run through the first layer per update, at most; of a decoder, prefixes per eight texts",
                provenance=Provenance.MEASURED,
                minimum=1,
            ),
            Parameter(
                name="contexts",
                default=True,
                summary="on encoders solve for what attention gave each candidate and who shares a text; paper: no",
                provenance=Provenance.MEASURED,
            ),
            Parameter(
                name="links",
                default=True,
                summary="assemble an encoder's texts by a pursuit of single tokens' updates; paper: no",
                provenance=Provenance.MEASURED,
            ),
            Parameter(
                name="enumerated",
                default=512,
                summary="texts of one length that are judged one by one, at most; official code: 10,000,000",
                provenance=Provenance.MEASURED,
                minimum=0,
                maximum=100_000_000,
            ),
        ),
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
            "Silent from as many tokens per update (or sum) as the hidden size on; long texts of encoders are slow or "
            "incomplete from half as many on.",
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
