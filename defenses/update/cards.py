"""Cards of the defenses that change an update at the client, without a proven guarantee."""

from fedsec.api import DefenseCard, Parameter, Provenance

CARDS = (
    DefenseCard(
        name="gaussian-noise",
        summary="Adds Gaussian noise to every entry of a client's update.",
        target="fedsec.defenses.update.gaussian_noise:GaussianNoise",
        parameters=(
            Parameter(
                name="sigma",
                default=1e-3,
                summary="the noise's norm over the update's, or the deviation of one entry where not relative",
                unit="update norms, or the update's own unit",
                provenance=Provenance.GUESS,
                minimum=0.0,
                maximum=1e6,
            ),
            Parameter(
                name="relative",
                default=True,
                summary="whether sigma is relative to the update's norm",
                provenance=Provenance.GUESS,
            ),
        ),
        protects="privacy",
        guarantee=None,
        paper="Balunovic et al., LAMP, NeurIPS 2022, table 5; Zhu et al., DLG, NeurIPS 2019, section 5.1.",
        deviations="sigma relative to the update's norm by default, absolute as in the papers with relative: false",
        limits=(
            "It has no epsilon: nothing bounds what one text adds to the update, so no noise hides it provably.",
            "Small sigmas stop fixed thresholds only; an attacker who knows sigma sets thresholds by it.",
            "Malicious clients skip it.",
        ),
        passes=30.0,
        cost="one draw per parameter and client (0.2 s for 22.7 million on one core); accuracy falls as sigma grows",
    ),
    DefenseCard(
        name="gradient-pruning",
        summary="Sends 0 for a part of each tensor's entries: the smallest, or random ones.",
        target="fedsec.defenses.update.gradient_pruning:GradientPruning",
        parameters=(
            Parameter(
                name="keep",
                default=0.9,
                summary="entries of each tensor that are kept",
                unit="fraction",
                provenance=Provenance.GUESS,
                minimum=1e-6,
                maximum=1.0,
            ),
            Parameter(
                name="kind",
                default="top-k",
                summary="keep the largest magnitudes, or each entry with that probability",
                choices=("top-k", "random"),
            ),
        ),
        protects="privacy",
        guarantee=None,
        paper="top-k: Lin et al., DGC, ICLR 2018, algorithm 1; random: Balunovic et al., LAMP, NeurIPS 2022, table 8.",
        deviations="what is left out is not sent in later rounds, and kept entries are not scaled up",
        limits=(
            "Omitted entries of a low-rank matrix follow from those that are sent, as long as enough are.",
            "A text touches few embedding rows, so top-k keeps these, and embedding-algebra still reads.",
            "Malicious clients skip it.",
        ),
        cost="a selection per tensor; 4 bytes per kept parameter go up, with a bit for every one or its number",
    ),
    DefenseCard(
        name="quantization",
        summary="Rounds every entry of a client's update to n bits, at random; one bit is the sign with a scale.",
        target="fedsec.defenses.update.quantization:Quantization",
        parameters=(
            Parameter(
                name="bits",
                default=8,
                summary="bits per entry",
                unit="bits",
                provenance=Provenance.GUESS,
                minimum=1,
                maximum=16,
            ),
        ),
        protects="privacy",
        guarantee=None,
        paper="Alistarh et al., QSGD, NeurIPS 2017, sections 3.1 and 4; one bit: Bernstein et al., signSGD, ICML 2018.",
        deviations="one scale per tensor instead of buckets; no error feedback and no entropy coding",
        limits=(
            "Rounding is noise of known size, and an attacker who knows the step allows for it.",
            "From two bits on 0 stays 0, so the touched embedding rows, and hence the words, remain visible.",
            "Malicious clients skip it.",
        ),
        cost="one draw per parameter; bits / 8 bytes per parameter go up, and 4 for each tensor",
    ),
)
