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
        ),
        paper="Petrov et al., DAGER: Exact Gradient Inversion for Large Language Models, NeurIPS 2024, sections 4-5.",
        deviations=(
            "stacked query, key and value gradients, or LoRA factors A on them; rank at the largest relative gap and "
            "tolerances relative to the span's noise instead of absolute ones; an encoder's texts assembled by which "
            "candidates' keys and queries explain what single tokens receive in every head, then by coordinate descent "
            "on the second layer, instead of enumeration; a decoder's prefixes tested at their last position only, and "
            "verified only if all states together are as many as the span has directions; identical texts of a batch "
            "are claimed once"
        ),
        limits=(
            "Says nothing once an update (a sum over clients: all of theirs) has as many tokens as the hidden size has "
            "dimensions.",
            "LoRA: silent while the factors B are zero, as they start; exact while tokens are fewer than rank times "
            "the adapted projections; beyond that nothing is verified and little is found (8 CoLA sentences, batch 1, "
            "after 5 AdamW steps: MiniLM 0.25, 0.88, 1 of them at rank 4, 8, 16; GPT-2, 6 x 384: 0, 0.38, 0.88, 1 at "
            "rank 4, 8, 16, 64).",
            "Decoders: a text that begins another of the batch leaves nothing in the spans, nor does, in language "
            "modelling, the last token of a text that was cut; unverified if so, or if it is the batch's longest and "
            "the output layer is not updated by one plain step.",
            "Dropout and noise blur the spans: claims are then a best effort and not verified.",
            "Known noise of 0.01 of the norm or 8 bits leave texts readable, not verified (MiniLM, at batch 1, 2, 4: "
            "1.00, 0.95, 0.82 and 1.00, 0.85, 0.78 of the words; noise of 0.001 1.00, 1.00, 0.83).",
            "Pruned entries follow where enough are left and nothing else blurs them (MiniLM: all of batch 4 with "
            "10 % gone, notes of batch 1 with half gone; of a tenth that is left, some words); not of sums.",
            "Rounding of a weight difference blurs too (MiniLM, batch 2: exact but unverified at 1e-3, lost at 2e-5).",
            "A text with hardly a token of its own may stay hidden (MiniLM, CoLA: none of 160 at batch 8, 3 at 16).",
            "Texts nearly as long as an attention head is wide (32 in MiniLM) leave only the slow descent.",
            "Texts of a batch that are nearly equal may be found and not be verified: each is the other's neighbour.",
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
