"""The log lines of a round."""

from __future__ import annotations

import logging
from collections import Counter

from berth.controller.writer import Accepted
from berth.pool import Lane

logger = logging.getLogger(__name__)

MAX_LINES = 1000
"""Changes of a round that are logged one by one at INFO; of more only their number, each at DEBUG.

A line costs 13 us: those of a first placement of 100,000 Items would hold the event loop up for 3 s.
"""


def log_round(pool: str, accepted: list[Accepted], lanes: Counter[Lane]) -> None:
    """Log the changes that the API server accepted; `lanes` counts them."""
    many = lanes.total() > MAX_LINES
    if many:
        counts = " ".join(f"{lane.value}={count}" for lane, count in sorted(lanes.items()))
        logger.info("pool=%s members=%d %s", pool, len(accepted), counts)
    level = logging.DEBUG if many else logging.INFO
    if not logger.isEnabledFor(level):
        return
    for member, edits in accepted:
        for item, entry, _, lane in edits:
            logger.log(
                level,
                "pool=%s item=%s member=%s lane=%s %s",
                pool,
                item,
                member,
                lane.value,
                f"slot={entry.slot} grant={entry.grant} epoch={entry.epoch}" if entry else "removed",
            )
