"""Loops of Python on arrays, one kind each."""

# ruff: noqa: B007, B905, PLW0120, SIM114 — code as users write it

from __future__ import annotations

from typing import Any

import graphc as gc
from tests.frontends.tracing.convert.table import Table

X = gc.tensor([1.0, -2.0, 3.0])
S = gc.tensor(2.0)
TABLE = Table()
case = TABLE.case


@case(S, grad=False)
def while_else(x: Any) -> Any:
    while x < 10:
        x = x * 2
    else:
        x = x + 1
    return x


@case(S, grad=False)
def while_break_else(x: Any) -> Any:
    while x < 10:
        x = x * 2
        if x > 7:
            break
    else:
        x = x + 100
    return x


@case(X)
def for_else(x: Any) -> Any:
    t = 0.0
    for v in x:
        t = t + v
        if t > 100:
            break
    else:
        t = t * 2
    return t


@case(gc.arange(100, dtype=gc.float32))
def for_rows_long(x: Any) -> Any:
    t = 0.0
    for v in x:
        t = t + v*v
    return t


@case(gc.ones((40,3)))
def enum_tensor(x: Any) -> Any:
    t = gc.zeros(3)
    for i, v in enumerate(x):
        t = t + v * i
    return t


@case(gc.ones((40,3)), gc.arange(120, dtype=gc.float32).reshape(40,3))
def zip_tensors(x: Any, y: Any) -> Any:
    t = gc.zeros(3)
    for a, b in zip(x, y):
        if a.sum() > 0:
            t = t + a * b
    return t


@case(X, gc.tensor(5), grad=False)
def range_stop(x: Any, n: Any) -> Any:
    for i in range(n):
        x = x * 1.1 + i
    return x


@case(X, gc.tensor(2), gc.tensor(9), grad=False)
def range_start_stop(x: Any, a: Any, b: Any) -> Any:
    for i in range(a, b):
        x = x * 1.1 + i
    return x


@case(X, gc.tensor(9), gc.tensor(2), grad=False)
def range_neg(x: Any, a: Any, b: Any) -> Any:
    for i in range(a, b, -2):
        x = x * 1.1 + i
    return x


@case(X, gc.tensor(9), gc.tensor(2), gc.tensor(-2), grad=False)
def range_tensor_step(x: Any, a: Any, b: Any, s: Any) -> Any:
    for i in range(a, b, s):
        x = x * 1.1 + i
    return x


@case(X, gc.tensor(2), gc.tensor(9), gc.tensor(3), grad=False)
def range_tensor_step2(x: Any, a: Any, b: Any, s: Any) -> Any:
    for i in range(a, b, s):
        x = x * 1.1 + i
    return x


@case(X, gc.tensor(5), grad=False)
def nested_break(x: Any, n: Any) -> Any:
    for i in range(n):
        for j in range(n):
            if j > i:
                break
            if (i + j) % 2 == 0:
                continue
            x = x + i * j
        if x.sum() > 50:
            break
    return x


@case(X, gc.tensor(5), grad=False)
def early_return_nested(x: Any, n: Any) -> Any:
    for i in range(n):
        for j in range(n):
            x = x * 1.01
            if i * j > 5:
                return x * 2
    return x


@case(S, grad=False)
def walrus_while(x: Any) -> Any:
    while (y := x * 2) < 50:
        x = y
    return x + y


@case(X)
def is_none2(x: Any) -> Any:
    best = None
    for i in range(3):
        if best is None:
            best = x[i]
        elif x[i] > best:
            best = x[i]
    return best


@case(X)
def reversed_rows(x: Any) -> Any:
    t = 0.0
    for v in reversed(x):
        t = t * 2 + v
    return t


@case(gc.ones((50,2)))
def reversed_long(x: Any) -> Any:
    t = gc.zeros(2)
    for v in reversed(x):
        t = t * 0.9 + v
    return t


@case(gc.ones((50,2)))
def reversed_range(x: Any) -> Any:
    t = gc.zeros(2)
    for i in reversed(range(50)):
        t = t * 0.9 + x[i]
    return t


@case(gc.ones((50,2)))
def enum_range_len(x: Any) -> Any:
    t = gc.zeros(2)
    for i in range(len(x)):
        t = t * 0.9 + x[i] * i
    return t


@case(X, grad=False)
def int_cast(x: Any) -> Any:
    n = 0
    while n < 3 and x.sum() < 100:
        x = x * 3
        n += 1
    return x


@case(X, grad=False)
def while_true(x: Any) -> Any:
    while True:
        x = x * 2
        if x.sum() > 30:
            break
    return x


@case(X, grad=False)
def while_true_return(x: Any) -> Any:
    i = 0
    while True:
        x = x * 2
        i += 1
        if x.sum() > 30:
            return x * i


@case(X)
def assert_in_loop(x: Any) -> Any:
    for i in range(40):
        assert x.sum() > -1000, "bad"
        x = x * 1.01
    return x


@case(X)
def aug_tuple(x: Any) -> Any:
    a = b = x.sum()
    for i in range(40):
        a, b = b, a + b * 0.1
    return a * x


@case(X)
def lru(x: Any) -> Any:
    r = x
    for k, f in {"a": gc.sin, "b": gc.cos}.items():
        if r.sum() > 0:
            r = f(r)
    return r


@case(X)
def loop_undefined_ok(x: Any) -> Any:
    for i in range(40):
        t = x * i
        x = x + t * 0.01
    return x + t


@case(gc.tensor(2), X)
def match_complex(n: Any, x: Any) -> Any:
    for k in [("a", 1), {"z": 3}, 5, n, None, 7.5]:
        match k:
            case ("a", 1 | 2 as q) if n > 1:
                x = x + q
            case {"z": v}:
                x = x * v
            case 5 | 6:
                x = x - 1
            case None:
                x = x * 1.5
            case float() as f if x.sum() > 0:
                x = x + f
            case w if not isinstance(w, tuple) and w > 1:
                x = x + w
            case _:
                x = x * 100
    return x


@case(X, grad=False)
def while_true_in_loop(x: Any) -> Any:
    for i in range(3):
        while True:
            x = x * 2
            if x.sum() > 30:
                return x
            if x.sum() > 10 * i:
                break
    return x * 3


@case(X, grad=False)
def while_true_nested_ret(x: Any) -> Any:
    if x.sum() > 0:
        while True:
            x = x * 2
            if x.sum() > 30:
                return x
    else:
        return -x


@case(X)
def raise_in_loop(x: Any) -> Any:
    for i in range(40):
        x = x * 1.1
        if x.max() > 1e9:
            raise ValueError("diverged")
    return x


@case(X)
def break_before_the_rest(x: Any) -> Any:
    total = x.sum() * 0
    for v in x:
        if v < 0:
            break
        total = total + v
    return total


@case(gc.arange(40, dtype=gc.float32))
def break_before_the_rest_of_a_long_loop(x: Any) -> Any:
    total = x.sum() * 0
    for v in x:
        if v > 7:
            break
        total = total + v
    return total


@case(gc.arange(40, dtype=gc.float32), grad=False)
def break_twice(x: Any) -> Any:
    total = x.sum() * 0
    for i in range(40):
        for j in range(i):
            if x[j] > 5:
                break
            total = total + x[i]
        if total > 100:
            break
    else:
        total = total + 1000
    return total


@case(S, gc.tensor(9), grad=False)
def break_of_any_length(x: Any, n: Any) -> Any:
    for i in range(n):
        if x > 10:
            break
        x = x * 1.5 + i
    return x
