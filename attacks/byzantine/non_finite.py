"""Non-finite: send values that make any unchecked sum unusable."""

from dataclasses import dataclass, replace

import torch

from fedsec.api import ClientView, Update

_VALUES = {"nan": float("nan"), "inf": float("inf"), "huge": 1e30}


@dataclass(frozen=True, slots=True, kw_only=True)
class NonFinite:
    """Sends NaN, infinity or 1e30 in every coordinate.

    One such row in a sum makes the model NaN. It tests the server's check, which has to refuse it: against an
    engine that checks what it receives, only the malicious clients' own updates are lost.

    Args:
        kind: `nan`, `inf` (of random signs, so that sums over coordinates become NaN) or `huge` (1e30 of random signs:
            finite, but its square is not in fp32).

    Source: none, the usual crash-type attack of benchmarks.
    Deviations: none.
    """

    kind: str = "nan"

    def on_update(self, update: Update, view: ClientView) -> Update:
        """Return the crafted update; the claimed number of examples stays honest."""
        signs = torch.randint(2, update.vector.shape, generator=view.generator) * 2 - 1
        return replace(update, vector=signs * torch.full_like(update.vector, _VALUES[self.kind]))
