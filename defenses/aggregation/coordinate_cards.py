"""Cards of the coordinate-wise rules."""

from fedsec.api import DefenseCard

from .conditions import (
    bulyan_assumption_broken,
    bulyan_precondition,
    mean_without_malicious,
    more_malicious_than_declared,
    needs_majority,
)
from .shared_parameters import GEOMETRY

_ONE_BY_ONE = (
    "It treats each coordinate alone, so it keeps an update that stays among the honest values everywhere (ALIE)."
)
_SORT = "sorts every coordinate's n values once: about a seventh of torch.median over 50 rows on one thread"

CARDS = (
    DefenseCard(
        name="median",
        summary="Takes the median of each coordinate.",
        target="fedsec.defenses.aggregation.median:Median",
        protects="robustness",
        guarantee="(f, kappa)-robust for n > 2f, kappa at most 4 (1 + f/(n-2f))^2 (Allouah et al., AISTATS 2023)",
        precondition=needs_majority("median"),
        assumption_broken=more_malicious_than_declared,
        is_rule=True,
        paper="Yin et al., ICML 2018, definition 1 (coordinate-wise median).",
        limits=(
            "Where clients' data differ, the median of sparse coordinates is 0 or one client's, so training "
            "is slow or stalls.",
            _ONE_BY_ONE,
        ),
        passes=30.0,
        cost=_SORT,
    ),
    DefenseCard(
        name="trimmed-mean",
        summary="Averages each coordinate without its f smallest and f largest values.",
        target="fedsec.defenses.aggregation.trimmed_mean:TrimmedMean",
        protects="robustness",
        guarantee="(f, kappa)-robust for n > 2f, kappa at most 6r (1+r), r = f/(n-2f) (Allouah et al., AISTATS 2023)",
        precondition=needs_majority("trimmed-mean"),
        changes_nothing=mean_without_malicious,
        assumption_broken=more_malicious_than_declared,
        is_rule=True,
        paper="Yin et al., ICML 2018, definition 2 (coordinate-wise trimmed mean, beta = f/n).",
        limits=(
            "With f = 0 it is the plain mean, so declare the number of malicious clients.",
            _ONE_BY_ONE,
        ),
        passes=30.0,
        cost=_SORT,
    ),
    DefenseCard(
        name="meamed",
        summary="Averages each coordinate's n-f values nearest to its median.",
        target="fedsec.defenses.aggregation.meamed:Meamed",
        protects="robustness",
        guarantee="dimensional Byzantine resilience for n > 2f identically distributed rows (Xie et al. 2018)",
        precondition=needs_majority("meamed"),
        changes_nothing=mean_without_malicious,
        assumption_broken=bulyan_assumption_broken,
        is_rule=True,
        paper="Xie et al., Generalized Byzantine-tolerant SGD, arXiv 1802.10116 (2018): mean around the median.",
        limits=(
            "It drops f values in all, not on each side: malicious values close to the median are averaged.",
            _ONE_BY_ONE,
        ),
        passes=30.0,
        cost=f"{_SORT}; half as much again for the mean",
    ),
    DefenseCard(
        name="bulyan",
        summary="Selects n-2f rows by Krum one after the other, then averages what is nearest to their median.",
        target="fedsec.defenses.aggregation.bulyan:Bulyan",
        parameters=(GEOMETRY,),
        protects="robustness",
        guarantee="(alpha, f)-Byzantine resilience, and leeway of order 1/sqrt(d) per coordinate, for n >= 4f+3 "
        "identically distributed rows (El Mhamdi et al., ICML 2018)",
        precondition=bulyan_precondition,
        assumption_broken=bulyan_assumption_broken,
        is_rule=True,
        paper="El Mhamdi et al., The Hidden Vulnerability of Distributed Learning in Byzantium, ICML 2018, section 4.",
        deviations="one other row counts in a Krum score at least, as in the last draw under f = 1",
        limits=(
            "It needs n >= 4f+3, so it bears fewer malicious clients than other rules.",
            "With f of 1 or 2, two updates tie in the last selection, and the order of clients decides.",
            "It averages n-4f values per coordinate, which is noisy where that number is small.",
        ),
        cost="one Gram product, n-2f selections over n x n distances, and one sort of the selected values",
    ),
    DefenseCard(
        name="bulyan-one-pass",
        summary="Selects the n-2f rows of the lowest Krum scores, then averages what is nearest to their median.",
        target="fedsec.defenses.aggregation.bulyan_one_pass:BulyanOnePass",
        parameters=(GEOMETRY,),
        protects="robustness",
        precondition=bulyan_precondition,
        is_rule=True,
        paper="none: Flower 1.41's Bulyan; after El Mhamdi et al., ICML 2018.",
        deviations="from the paper's Bulyan: Krum scores are not computed anew as rows are taken out",
        limits=(
            "It has no proof: the theorem is about Bulyan, which selects updates one by one.",
            "It averages n-4f values per coordinate, which is noisy where that number is small.",
        ),
        cost="one Gram product and one sort of the selected values",
    ),
)
