"""How long to wait after a failure."""

import random
from dataclasses import dataclass, field


def backoff_delay(failures: int, base: float, limit: float, jitter: float) -> float:
    """Seconds to wait after the `failures`-th failure in a row (1, 2, ...).

    Doubles from `base` up to `limit`; `jitter` in [0, 1) spreads it over the upper half of that span, so
    that clients which failed together do not retry together.
    """
    span = min(limit, base * 2.0 ** min(failures - 1, 32))
    return span * (0.5 + 0.5 * jitter)


@dataclass(slots=True)
class Backoff:
    """Counts failures in a row, and how long to wait after each."""

    base: float = 0.2
    limit: float = 20.0
    failures: int = 0
    rng: random.Random = field(default_factory=random.Random, repr=False)

    def next(self) -> float:
        """Count one more failure; returns the seconds to wait now."""
        self.failures += 1
        return backoff_delay(self.failures, self.base, self.limit, self.rng.random())

    def reset(self) -> None:
        """Count a success."""
        self.failures = 0
