"""stub"""

import logging


def save_rejected(engine, faults, problem):
    logging.getLogger(__name__).error("plan of the %s engine rejected: %s", engine, "; ".join(faults))
