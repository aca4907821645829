"""The usual way to a plan: intervals, the least moves within them, and entries dealt out by arrays.

    intervals ──> what must go is gone ──> least moves ──> deal ──> repair what does not fit
     (levels         (certain in            (bound on       (by
      1 to 7)         every plan)            8 to 10)        lot)

Small networks decide, arrays carry it out. Whether the plan is the best shows when the certificate
has counted it: each level against its bound.
"""

from __future__ import annotations

from berth.solve.deal import Deal
from berth.solve.exact import Placement
from berth.solve.flow import TooLarge
from berth.solve.moves import drop_surplus, least_moves
from berth.solve.repair import repair
from berth.solve.work import Work


def pooled(work: Work) -> Placement:
    """The plan for the Items that the dealing looked at; the others stay.

    Raises NoFlow where no plan can lie in the intervals, and TooLarge where it has to be quick and
    would not be.
    """
    tuning = work.tuning
    work.empty_members()
    known = drop_surplus(work)
    moves = least_moves(work)
    bounds = work.intervals.bounds | (known or moves.bounds)
    if work.quick and bounds["moves"] > tuning.quick_moves:
        raise TooLarge(f"{bounds['moves']} moves")
    # Of few Items that need not be enough choice: then all are looked at.
    for wide in (False, True):
        deal = Deal(work, moves, wide)
        if work.quick and len(deal.rows) > tuning.quick_items:
            raise TooLarge(f"{len(deal.rows)} Items")
        deal.run()
        repair(deal, moves.bounds["moves"])
        fits = deal.loads_fit() and not deal.misfits().any()
        if fits and deal.moved() <= moves.bounds["moves"] or len(deal.rows) > 0.9 * len(work.state.at):
            break
    return Placement(deal.rows, deal.at, bounds)
