"""Functions that cannot be traced, one per cause; their lines are in the golden texts."""

import collections
import datetime
import random
import time
from typing import Any

import numpy as np

import graphc as gc

kept: list[Any] = []
table: dict[str, Any] = {}
latest: Any = None
queue: collections.deque[Any] = collections.deque()


class Counter:
    """Keeps what it is called with."""

    def __init__(self) -> None:
        self.value: Any = None
        self.calls = 0

    def keep(self, x: Any) -> Any:
        self.value = x * 2
        return x

    def count(self, x: Any) -> Any:
        while x.sum() < 10:
            self.calls += 1
            x = x * 2
        return x


counter = Counter()


def branch_shapes(x: Any) -> Any:
    if x.sum() > 0:
        y = x
    else:
        y = x.sum()
    return y


def branch_dtypes(x: Any) -> Any:
    if x.sum() > 0:
        y = x
    else:
        y = x.astype("int32")
    return y


def branch_structures(x: Any) -> Any:
    if x.sum() > 0:
        pair = {"a": x}
    else:
        pair = {"a": x, "b": x}
    return pair


def branch_objects(x: Any) -> Any:
    if x.sum() > 0:
        name = "up"
    else:
        name = "down"
    return x, name


def branch_undefined(x: Any) -> Any:
    if x.sum() > 0:
        y = x
    return y


def returns_differ(x: Any) -> Any:
    if x.sum() > 0:
        return x
    return x.sum()


def returns_nothing(x: Any) -> Any:
    if x.sum() > 0:
        return x


def expression_shapes(x: Any) -> Any:
    return x if x.sum() > 0 else x.sum()


def condition_is_no_scalar(x: Any) -> Any:
    if x > 0:
        x = -x
    return x


def loop_shape(x: Any) -> Any:
    while x.sum() < 10:
        x = gc.concat([x, x])
    return x


def loop_dtype(x: Any) -> Any:
    n = x.astype("int32")
    while n.sum() < 10:
        n = n * x
    return n


def loop_undefined(x: Any) -> Any:
    while x.sum() < 10:
        x = x * 2
        y = x
    return y


def loop_object(x: Any) -> Any:
    best = None
    while x.sum() < 10:
        x = x * 2
        best = x
    return best


def loop_memory(x: Any) -> Any:
    y = x.copy()
    while x.sum() < 10:
        x[0] = 5
        x, y = y, x
    return x


def in_comprehension(x: Any) -> Any:
    return [v for v in x if v > 0]


def sorts(x: Any) -> Any:
    return sorted([x[0], x[1]])


def calls_itself(x: Any) -> Any:
    if x.sum() > 100:
        return x
    return calls_itself(x * 2)


def too_long_to_unroll(x: Any) -> Any:
    names = ["a"] * 3000
    for i in range(3000):
        x = x + len(names[i])
    return x


def append_in_loop(x: Any) -> Any:
    history = []
    while x.sum() < 10:
        x = x * 2
        history.append(x)
    return history


def attribute_in_loop(x: Any) -> Any:
    return counter.count(x)


def append_outside(x: Any) -> Any:
    kept.append(x)
    return x


def append_to_argument(x: Any, values: Any = ()) -> Any:
    values.append(1)
    return x


def dict_outside(x: Any) -> Any:
    table["x"] = x
    return x


def attribute_outside(x: Any) -> Any:
    return counter.keep(x)


def global_variable(x: Any) -> Any:
    global latest  # noqa: PLW0603
    latest = x * 2
    return x


def prints(x: Any) -> Any:
    print("x is", x)
    return x


def clock(x: Any) -> Any:
    return x * time.perf_counter()


def draws(x: Any) -> Any:
    return x * random.random()


def draws_with_numpy(x: Any) -> Any:
    return x + np.random.normal(size=2)


def counts(x: Any) -> Any:
    counter.calls += 1
    return x


def sets_by_name(x: Any) -> Any:
    setattr(counter, "value", x)  # noqa: B010
    return x


def append_to_a_deque(x: Any) -> Any:
    queue.append(x)
    return x


def date(x: Any) -> Any:
    return x * datetime.datetime.now().timestamp()
