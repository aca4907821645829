"""Each rule that is switched off is noticed, by the model or by a test of its own."""

from __future__ import annotations

import asyncio
import inspect

import pytest
import test_outage
import test_protocol
import test_round
import test_rules
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from mutations import BY_TEST, MODEL, MUTATIONS, Mutation, mutated

MODULES = [test_rules, test_round, test_outage]


def model(examples: int) -> None:
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


def tests() -> None:
    """The unit tests of the rules, one after the other."""
    for module in MODULES:
        for name, test in vars(module).items():
            if name.startswith("test_") and not inspect.signature(test).parameters:
                result = test()
                if inspect.iscoroutine(result):
                    asyncio.run(result)


@pytest.mark.parametrize("mutation", [m for m in MUTATIONS if m.name in BY_TEST], ids=lambda m: m.name)
def test_a_unit_test_notices_that(mutation: Mutation) -> None:
    tests()
    with mutated(mutation), pytest.raises((AssertionError, KeyError)):
        tests()


@pytest.mark.parametrize("name", MODEL[:3])
def test_the_model_notices_at_once_that(name: str) -> None:
    mutation = next(m for m in MUTATIONS if m.name == name)
    with mutated(mutation), pytest.raises(AssertionError):
        model(200)


@pytest.mark.deep
@pytest.mark.parametrize("name", MODEL)
def test_the_model_notices_that(name: str) -> None:
    mutation = next(m for m in MUTATIONS if m.name == name)
    with mutated(mutation), pytest.raises(AssertionError):
        model(5000)
