"""Cards of the rules that work from distances and angles between rows."""

from fedsec.api import DefenseCard, Parameter, Provenance

from .conditions import (
    bound_broken,
    fltrust_precondition,
    foolsgold_precondition,
    krum_assumption_broken,
    krum_precondition,
    mean_without_malicious,
    multi_krum_precondition,
    needs_majority,
)
from .shared_parameters import GEOMETRY, NEIGHBOURS

PRODUCTS = "distances between products of LoRA factors are ours"

KRUMS = (
    DefenseCard(
        name="krum",
        summary="Keeps the one row that is closest to its nearest neighbours.",
        target="fedsec.defenses.aggregation.krum:Krum",
        parameters=(NEIGHBOURS, GEOMETRY),
        protects="robustness",
        guarantee="(alpha, f)-Byzantine resilience for n >= 2f+3 identically distributed rows of low variance",
        precondition=krum_precondition,
        assumption_broken=krum_assumption_broken,
        is_rule=True,
        paper="Blanchard et al., NeurIPS 2017, section 4; Allouah et al., AISTATS 2023, appendix.",
        deviations=f"none; {PRODUCTS}",
        limits=(
            "It returns a single client's update: slow, and unfair to the others where clients' data differ.",
            "It selects small, well-placed malicious updates (ALIE, IPM) rather than refusing them.",
        ),
        cost="one Gram product of the rows",
    ),
    DefenseCard(
        name="multi-krum",
        summary="Averages the rows that are closest to their nearest neighbours.",
        target="fedsec.defenses.aggregation.multi_krum:MultiKrum",
        parameters=(
            NEIGHBOURS,
            Parameter(
                name="m",
                default=0,
                summary="how many are averaged: at most n-f-2 (Blanchard et al.) or n-f (Allouah et al.); 0: as many",
                unit="rows",
                provenance=Provenance.PAPER,
                minimum=0,
            ),
            GEOMETRY,
        ),
        protects="robustness",
        precondition=multi_krum_precondition,
        is_rule=True,
        paper="Blanchard et al., NeurIPS 2017, section 4; Allouah et al., AISTATS 2023, appendix.",
        deviations=f"none; {PRODUCTS}",
        limits=(
            "It states no guarantee: Blanchard et al. prove none for m > 1, and other bounds were not "
            "checked for these conventions.",
            "With the largest m, a malicious update close to the honest ones is averaged.",
        ),
        cost="one Gram product of the rows",
    ),
)

CENTRES = (
    DefenseCard(
        name="geometric-median",
        summary="Takes the point with the smallest sum of distances to the rows.",
        target="fedsec.defenses.aggregation.geometric_median:GeometricMedian",
        parameters=(
            Parameter(
                name="tolerance",
                default=1e-7,
                summary="the gradient's length at which it ends",
                unit="of its length far away",
                provenance=Provenance.GUESS,
                minimum=0.0,
                maximum=1.0,
            ),
            Parameter(
                name="max_iterations",
                default=1000,
                summary="steps at most; the last weights count, converged or not",
                provenance=Provenance.GUESS,
                minimum=1,
                maximum=1e6,
            ),
            Parameter(
                name="nu",
                default=1e-6,
                summary="distance below which the objective is smooth",
                unit="typical distances",
                provenance=Provenance.GUESS,
                minimum=1e-12,
                maximum=1.0,
            ),
            GEOMETRY,
        ),
        protects="robustness",
        guarantee="(f, kappa)-robust for n > 2f, kappa at most 4 (1 + f/(n-2f))^2 (Allouah et al., AISTATS 2023); "
        "that is of the exact geometric median, which this one comes near to by its tolerance",
        precondition=needs_majority("geometric-median"),
        assumption_broken=bound_broken,
        is_rule=True,
        paper="Pillutla et al., IEEE TSP 2022, algorithm 2; Allouah et al., AISTATS 2023, for the guarantee.",
        deviations="rows count equally; nu is relative to the rows' distances; iterated to a tolerance in place of 3 "
        f"steps; {PRODUCTS}",
        limits=("Malicious updates that all lie on one side pull it by a bounded amount, but not a small one.",),
        cost="one Gram product of the rows; then two n x n products per step",
    ),
    DefenseCard(
        name="mda",
        summary="Averages the n-f rows of the smallest diameter.",
        target="fedsec.defenses.aggregation.mda:MinimumDiameterAveraging",
        parameters=(GEOMETRY,),
        protects="robustness",
        guarantee="within 2f/(n-f) honest diameters of the honest rows' mean, for n > 2f",
        precondition=needs_majority("mda"),
        changes_nothing=mean_without_malicious,
        assumption_broken=bound_broken,
        is_rule=True,
        paper="El-Mhamdi et al., PODC 2020; Farhadkhani et al., ICML 2022, for the guarantee.",
        deviations=f"none; the search by vertex covers is ours, exact as well; {PRODUCTS}",
        limits=(
            "The search is exponential in f in the worst case, about 1.47^f, and updates can be crafted for that.",
            "A malicious update within the honest diameter is averaged.",
        ),
        cost="one Gram product of the rows; then a search that takes milliseconds at n = 50, f = 12",
    ),
    DefenseCard(
        name="centered-clipping",
        summary="Goes from the previous aggregate towards the rows, by a step of bounded length for each.",
        target="fedsec.defenses.aggregation.centered_clipping:CenteredClipping",
        parameters=(
            Parameter(
                name="radius",
                default=1.0,
                summary="the longest step; the paper's is absolute",
                unit="median distances from where it stands",
                provenance=Provenance.GUESS,
                minimum=1e-3,
                maximum=1e6,
            ),
            Parameter(
                name="iterations",
                default=1,
                summary="steps of each round; the radius is taken anew in each",
                provenance=Provenance.PAPER,
                minimum=1,
                maximum=1000,
            ),
            GEOMETRY,
        ),
        protects="robustness",
        precondition=needs_majority("centered-clipping"),
        is_rule=True,
        paper="Karimireddy, He and Jaggi, ICML 2021, algorithm 2.",
        deviations="the radius is relative to the median distance, and so without the paper's guarantee; clients need "
        f"not send momentum; {PRODUCTS}",
        limits=(
            "An attack that moves the centre a little in every round accumulates (time-coupled attacks).",
            "The first round starts at 0 and moves by at most the median norm of the updates.",
        ),
        cost="one Gram product of the rows and the previous aggregate, which it keeps",
    ),
)

REFERRED = (
    DefenseCard(
        name="fltrust",
        summary="Weighs rows by their angle to an update from rows that the server holds, all scaled to its length.",
        target="fedsec.defenses.aggregation.fltrust:FLTrust",
        parameters=(GEOMETRY,),
        protects="robustness",
        precondition=fltrust_precondition,
        is_rule=True,
        paper="Cao et al., NDSS 2021, equations (2) to (4), algorithm 2.",
        deviations=f"rows shorter than 1e-4 of the trusted update have weight 0; {PRODUCTS}",
        limits=(
            "It is as good as the server's samples: if their distribution differs, honest clients lose weight.",
            "It states no guarantee: the paper's bound assumes strong convexity.",
            "If no update points in the trusted direction, the global model is kept.",
        ),
        cost="the server's own local training; two Gram products of the rows",
    ),
    DefenseCard(
        name="foolsgold",
        summary="Lowers the weight of clients whose summed updates are like another client's.",
        target="fedsec.defenses.aggregation.foolsgold:FoolsGold",
        parameters=(
            Parameter(
                name="features",
                default="all",
                choices=("all", "head"),
                summary="what is compared: all parameters, or the output layer",
                provenance=Provenance.GUESS,
            ),
            GEOMETRY,
        ),
        protects="robustness",
        precondition=foolsgold_precondition,
        is_rule=True,
        paper="Fung, Yoon and Beschastnikh, RAID 2020, algorithm 1.",
        deviations="divided by the number of rows; features are in or out, in place of weights of single features; "
        f"confidence 1; {PRODUCTS}",
        limits=(
            "It takes honest clients with similar data for sybils, so it needs clients whose data differ.",
            "A single malicious client, or sybils that add noise of their own, go undetected.",
            "It needs one update per row, so no filter that averages updates may precede it.",
        ),
        cost="two Gram products; memory of clients x features in fp32, which is checkpointed",
    ),
)

CARDS = (*KRUMS, *CENTRES, *REFERRED)
