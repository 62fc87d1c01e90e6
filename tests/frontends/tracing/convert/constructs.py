"""Statements and expressions of Python on arrays, one each."""

# ruff: noqa: B008, B905, C417, F841 — code as users write it

from __future__ import annotations

import contextlib
import functools
from typing import Any

import numpy as np

import graphc as gc
from tests.frontends.tracing.convert.table import Table

X = gc.tensor([1.0, -2.0, 3.0])
S = gc.tensor(2.0)
TABLE = Table()
case = TABLE.case


@case(X)
def comp_cond_filter(x: Any) -> Any:
    return sum([v for v in [x.sum(), -x.sum()] if v.shape == ()])


@case(X)
def comp_ifexp(x: Any) -> Any:
    return gc.stack([v if v > 0 else -v for v in x])


@case(X)
def any_gen(x: Any) -> Any:
    if any(v > 2 for v in x):
        return x * 2
    return x


@case(X)
def all_gen(x: Any) -> Any:
    if all(v > -5 for v in x):
        return x * 2
    return x


@case(X)
def any_list(x: Any) -> Any:
    return x * 2 if any([x[0] > 3, x[1] < 0]) else x


@case(X)
def any_tensor(x: Any) -> Any:
    if any(x > 2):
        return x*2
    return x


@case(X)
def all_tensor(x: Any) -> Any:
    if all(x > 2):
        return x*2
    return x


@case(X)
def try_finally(x: Any) -> Any:
    try:
        if x.sum() > 0:
            y = x * 2
        else:
            y = x
    finally:
        z = 1.0
    return y * z


@case(X)
def try_except(x: Any) -> Any:
    try:
        if x.sum() > 0:
            y = x * 2
        else:
            y = x
    except ValueError:
        y = x
    return y


@case(X)
def with_in(x: Any) -> Any:
    with contextlib.nullcontext():
        if x.sum() > 0:
            return x * 2
    return x


@case(X)
def with_in_if(x: Any) -> Any:
    if x.sum() > 0:
        with gc.no_grad():
            y = x * 2
        return x * y
    return x


@case(X)
def try_in_if(x: Any) -> Any:
    if x.sum() > 0:
        try:
            y = x * 2
        finally:
            pass
    else:
        y = x
    return y


@case(X)
def return_in_try(x: Any) -> Any:
    try:
        if x.sum() > 0:
            return x * 2
    finally:
        pass
    return x


@case(X)
def walrus(x: Any) -> Any:
    if (t := x.sum()) > 0:
        return x * t
    return x * -t


@case(X)
def tensor_sub_aug(x: Any) -> Any:
    y = x.copy()
    if x.sum() > 0:
        y[0] += 5.0
        y[1:] *= 2
    return y


@case(X, None)
def is_none(x: Any, m: Any) -> Any:
    if m is None:
        y = x
    else:
        y = x * m
    if m is None or m.sum() > 0:
        y = y + 1
    return y


@case(X)
def in_list(x: Any) -> Any:
    if "a" in ["a", "b"] and x.sum() > 0:
        return x * 2
    return x


@case(gc.tensor(3), X)
def in_tensor_list(n: Any, x: Any) -> Any:
    if n in [1, 2, 3]:
        return x * 2
    return x


@case(gc.tensor(7), X)
def not_in_tuple(n: Any, x: Any) -> Any:
    if n not in (1, 2, 3):
        return x * 2
    return x


@case(X)
def in_tensor(x: Any) -> Any:
    if 3.0 in x:
        return x * 2
    return x


@case(X)
def chained(x: Any) -> Any:
    if 0 < x.sum() < 5 and not x[0] > 2:
        return x * 2
    return x


@case(gc.tensor(2), X)
def match_value(n: Any, x: Any) -> Any:
    match n:
        case 1:
            y = x
        case 2:
            y = x * 2
        case _:
            y = x * 3
    return y


@case(gc.tensor(2), X)
def match_guard(n: Any, x: Any) -> Any:
    match "add":
        case "add" if n > 1:
            y = x + n
        case "add":
            y = x
        case _:
            y = x * 3
    return y


@case(X)
def match_tuple(x: Any) -> Any:
    p = ("k", x)
    match p:
        case ("k", v):
            if v.sum() > 0:
                return v * 2
            return v
    return x


@case(X)
def ternary_nested(x: Any) -> Any:
    return x * (1.0 if x.sum() > 5 else 2.0 if x.sum() > 1 else 3.0)


@case(X)
def and_or_values(x: Any) -> Any:
    a = x.sum() and x.max()
    b = (x.sum() - 2) or x.max()
    return a + b


@case(X)
def del_name(x: Any) -> Any:
    t = x.sum()
    if t > 0:
        y = x * t
        del t
    else:
        y = x
        del t
    return y


@case(X)
def star_assign(x: Any) -> Any:
    a, *r = x[0], x[1], x[2]
    if a > 0:
        a, b = r[0], a
    else:
        b = r[1]
    return a * b


@case(X)
def dict_comp(x: Any) -> Any:
    d = {k: (v if v > 0 else -v) for k, v in zip("abc", x)}
    return d["a"] + d["b"] * d["c"]


@case(X)
def sum_gen(x: Any) -> Any:
    return sum(v * v if v > 0 else v for v in x)


@case(X)
def max_builtin(x: Any) -> Any:
    return max(x[0], x[1]) * 2 + min(x[0], x[2])


@case(X)
def max_iter(x: Any) -> Any:
    return max(x) + min([x[1], x[2]])


@case(gc.ones((50,2)))
def map_filter(x: Any) -> Any:
    return sum(map(lambda v: v * 2, x))


@case(X)
def global_read(x: Any) -> Any:
    return x * G if x.sum() > 0 else x


G = 3.0


@case(X)
def kw_star(x: Any) -> Any:
    def f(*a: Any, k: Any = 2.0, **kw: Any) -> Any:
        if a[0].sum() > 0:
            return a[0] * k
        return a[0] * kw["z"]
    return f(x, k=3.0, z=1)


@case(X)
def default_args(x: Any) -> Any:
    def f(v: Any, s: Any = x.sum()) -> Any:
        return v * s if s > 0 else v
    return f(x)


@case(X)
def partial_(x: Any) -> Any:
    def f(v: Any, s: Any) -> Any:
        return v * s if s > 0 else v
    return functools.partial(f, s=x.sum())(x)


@case(X)
def nested_fn_in_branch(x: Any) -> Any:
    if x.sum() > 0:
        def f(v: Any) -> Any: return v * 2
        y = f(x)
    else:
        y = x
    return y


@case(X)
def import_in(x: Any) -> Any:
    import math
    if x.sum() > 0:
        y = x * math.pi
    else:
        y = x
    return y


@case(X)
def fstring(x: Any) -> Any:
    s = f"{x.shape}"
    return x * 2 if x.sum() > 0 else x


@case(X)
def bool_call(x: Any) -> Any:
    if bool(x.sum() > 0):
        return x * 2
    return x


@case(X)
def isinstance_(x: Any) -> Any:
    if isinstance(x, gc.Tensor) and x.sum() > 0:
        return x*2
    return x


@case(X)
def not_chain(x: Any) -> Any:
    return x * 2 if not (x.sum() < 0 or x.max() < 0) else x


@case(X)
def xor_bit(x: Any) -> Any:
    if (x.sum() > 0) & (x.max() > 2) | (x.min() > 0):
        return x*2
    return x


@case(X)
def numpy_in(x: Any) -> Any:
    t = np.sum(x)
    if t > 0:
        return np.sin(x)
    return x


@case(X)
def sum_if(x: Any) -> Any:
    return sum(v * 2 for v in x if v > 0)


@case(X)
def any_if(x: Any) -> Any:
    return x * 2 if any(v > 2 for v in x if v > 0) and all(v > 0 for v in x if v > -1) else x


@case(gc.tensor(2), X)
def match_return(n: Any, x: Any) -> Any:
    match n:
        case 0:
            return x
        case 2 if x.sum() > 100:
            return x * 5
        case 2:
            x = x * 3
        case _:
            return -x
    return x + 1


@case(X)
def in_cmp_return(x: Any) -> Any:
    return x * (x[0] in [1.0, 2.0])


@case(X)
def raise_if(x: Any) -> Any:
    if x.sum() > 100:
        raise ValueError("too large")
    return x * 2


@case(X)
def raise_else(x: Any) -> Any:
    if x.sum() > 0:
        y = x * 2
    elif x.sum() < -100:
        y = x
    else:
        raise ValueError("bad")
    return y


@case(X)
def raise_end(x: Any) -> Any:
    if x.sum() > 0:
        return x * 2
    raise ValueError("bad")


@case(X)
def raise_caught(x: Any) -> Any:
    if x.sum() > 0:
        try:
            raise ValueError
        except ValueError:
            y = x * 3
    else:
        y = x
    return y
