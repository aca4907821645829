"""Each rule that is switched off is noticed: by a test of its own, by a story, or by the model."""

from __future__ import annotations

import asyncio
import inspect

import pytest
import test_brain
import test_confirmed_deaths
import test_liveness
import test_outage
import test_promotion
import test_protocol
import test_protocol_stories
import test_round
import test_rules
import test_session_stories
import test_term
import test_writer
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from mutations import MODEL, MUTATIONS, Mutation, mutated

MODULES = [
    test_rules,
    test_promotion,
    test_round,
    test_outage,
    test_liveness,
    test_confirmed_deaths,
    test_brain,
    test_writer,
    test_term,
    test_protocol_stories,
    test_session_stories,
]


def run_tests() -> None:
    """The fast tests, one after the other."""
    for module in MODULES:
        for name, test in vars(module).items():
            if name.startswith("test_") and not inspect.signature(test).parameters:
                result = test()
                if inspect.iscoroutine(result):
                    asyncio.run(result)


def run_model(examples: int) -> None:
    """The model without shrinking: here only whether it fails matters."""
    run_state_machine_as_test(
        test_protocol.Protocol,
        settings=settings(
            max_examples=examples,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
            database=None,
            report_multiple_bugs=False,
        ),
    )


def test_without_a_mutation_all_is_well() -> None:
    run_tests()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_it_is_noticed_that(mutation: Mutation) -> None:
    with mutated(mutation), pytest.raises((AssertionError, pytest.fail.Exception)):
        run_tests()


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in MODEL[:2] else pytest.mark.deep) for n in MODEL]
)
def test_the_model_finds_that(name: str) -> None:
    mutation = next(m for m in MUTATIONS if m.name == name)
    with mutated(mutation), pytest.raises(AssertionError):
        run_model(3000)
