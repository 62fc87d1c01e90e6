"""Functions that cannot be traced because they change what is outside of them, or draw or log; as in ``wrong``."""

import logging
import uuid
from random import random as draw
from typing import Any

import numpy as np

kept: list[Any] = []
numbers = [3, 1, 2]
totals = {"calls": 0}


def counts_in_a_dict(x: Any) -> Any:
    totals["calls"] += 1
    return x


def counts_in_a_list(x: Any) -> Any:
    numbers[len(numbers) - 1] += 1
    return x


def pops(x: Any) -> Any:
    numbers.pop()
    return x


def sorts_outside(x: Any) -> Any:
    numbers.sort()
    return x


def deletes(x: Any) -> Any:
    del totals["calls"]
    return x


def extends_by_operator(x: Any) -> Any:
    known = kept
    known += [x]
    return x


def logs(x: Any) -> Any:
    logging.info("x is %s", x)
    return x


def makes_an_id(x: Any) -> Any:
    uuid.uuid4()
    return x


def draws_by_a_name_of_its_own(x: Any) -> Any:
    return x * draw()


def draws_with_a_generator(x: Any) -> Any:
    return x + np.random.default_rng().normal(size=2)


def prints_in_a_branch(x: Any) -> Any:
    if x.sum() > 0:
        print("positive")
    return x


def logs_in_a_loop(x: Any) -> Any:
    while x.sum() < 10:
        logging.info("again")
        x = x * 2
    return x


def sets_in_a_branch(x: Any) -> Any:
    values = {"a": x}
    if x.sum() > 0:
        values["a"] = -x
    return values
