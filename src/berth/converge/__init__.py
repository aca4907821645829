"""How the target is reached: step rules, budgets, the brake, explanations. Pure."""

from berth.converge.edits import MemberEdit, Round
from berth.converge.lanes import Lane, lane
from berth.converge.outage import Health, Outage, outage
from berth.converge.progress import Progress
from berth.converge.round import plan_round, view_of
from berth.converge.rules import Edit, Rules, Step, step
from berth.converge.view import Holding, View
from berth.converge.words import Wait, Why, describe

__all__ = [
    "Edit",
    "Health",
    "Holding",
    "Lane",
    "MemberEdit",
    "Outage",
    "Progress",
    "Round",
    "Rules",
    "Step",
    "View",
    "Wait",
    "Why",
    "describe",
    "lane",
    "outage",
    "plan_round",
    "step",
    "view_of",
]
