"""What decides DAGER's results, with the values that its card records."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Parameters of DAGER; residuals are distances from a span over the vector's norm.

    Args:
        tolerance: accepted residual where nothing but fp32 rounding blurs a span.
        slack: accepted residual in units of what the span's own noise explains; 0: as fixed as the paper's.
        blur: largest residual that noise is believed to explain in the first layer.
        ceiling: largest residual of a token of a verified text.
        hidden: residual that noise explains of the begin token, above which weak directions of the span are lost and no
            text can be told for certain.
        telling: largest residual of a candidate of such a span, in units of what noise explains of it.
        crowd: candidates per position of such a span, over the most texts that there can be, twice.
        depth: the second layer's tolerances over the first's.
        clear: where a text's tokens are allowed less than this, it is verified without a look at its neighbours.
        contrast: elsewhere no neighbour's residual may be within this factor of the text's.
        far: unless a token of the neighbour is this many times further off than is allowed.
        partial: nearest residual in the first layer at which tokens are claimed at their places, where the second tells
            less: where noise explains more, it also hides directions of the second.
        contexts: whether what attention gave single candidates is solved for.
        open_directions: directions that the linear equations may leave open; with more, texts are searched for.
        steps: Gauss-Newton steps along these.
        fall: share of its misfit to which a step has to bring a candidate that is followed further.
        patience: steps before that is asked of candidates that are tried again.
        retries: how often the nearest of those that did not pass are tried again.
        links: whether texts are pursued by what single tokens received.
        beam: partial texts per step of the pursuit, where one leads nowhere.
        explained: residual of a token's update, the geometric mean over the heads, which a true text alone reaches.
        explained_slack: the same in units of noise.
        restarts: restarts of the descent per wave, run as one batch.
        rounds: waves per possible length.
        sweeps: most passes over a text's positions per restart.
        shortlist: tokens per position that a sweep tries, after a first look at all of them.
        alike: an unverified text that shares this part of its places with a surer one is left out.
        enumerated: texts of one length that are judged one by one, at most.
        evaluations: all that is done per update, at most, in texts of 16 tokens run through the first layer; for a
            decoder, continuations of prefixes, as many again for every eight texts that the update can hold.
        blurred_evaluations: the same of an encoder whose texts noise keeps from being verified.
        unsure_evaluations: the same where not even begin and end tokens are within the tolerance.
        decoder_near: a decoder's tolerance in the first layer, over `tolerance`.
        decoder_far: the same in the second layer.
        decoder_gap: a decoder's text is verified if no continuation lay between the tolerance and this times it.
        decoder_beam: prefixes that are followed where noise admits more, over the most texts that there can be.
        decoder_tokens: tokens per position that are kept where noise admits more.
        end_share: share of the end token's largest part at a last position, from which on a decoder's text is whole.
    """

    tolerance: float = 2e-6
    slack: float = 6.0
    blur: float = 0.3
    ceiling: float = 1e-2
    hidden: float = 1e-2
    telling: float = 1.5
    crowd: int = 4
    depth: float = 3.0
    clear: float = 2e-5
    contrast: float = 3.0
    far: float = 10.0
    partial: float = 1e-3
    contexts: bool = True
    open_directions: int = 64
    steps: int = 16
    fall: float = 0.85
    patience: int = 6
    retries: int = 3
    links: bool = True
    beam: int = 6
    explained: float = 1.67e-5
    explained_slack: float = 4.5
    restarts: int = 8
    rounds: int = 20
    sweeps: int = 10
    shortlist: int = 4
    alike: float = 0.7
    enumerated: int = 512
    evaluations: int = 120_000
    blurred_evaluations: int = 15_000
    unsure_evaluations: int = 3_000
    decoder_near: float = 20.0
    decoder_far: float = 3.0
    decoder_gap: float = 2.0
    decoder_beam: int = 2
    decoder_tokens: int = 2048
    end_share: float = 0.02
