"""Functions, methods and objects in traced code, one kind each."""

# ruff: noqa: B007 — code as users write it

from __future__ import annotations

import collections
import dataclasses
import functools
from typing import Any

import graphc as gc
from tests.frontends.tracing.convert.table import Table

X = gc.tensor([1.0, -2.0, 3.0])
S = gc.tensor(2.0)
TABLE = Table()
case = TABLE.case


@case(X)
def nonlocal_write(x: Any) -> Any:
    c = x
    def inner() -> Any:
        nonlocal c
        if c.sum() > 0:
            c = c * 2
    inner()
    return c


@case(X)
def nonlocal_in_loop(x: Any) -> Any:
    t = 0.0
    def add(v: Any) -> Any:
        nonlocal t
        t = t + v
    for i in range(50):
        add(x[i % 3])
    return t


def deco(f: Any) -> Any:
    @functools.wraps(f)
    def w(*a: Any) -> Any: return f(*a)
    return w


@case(X)
@deco
def decorated(x: Any) -> Any:
    if x.sum() > 0:
        return x * 2
    return x


class C:
    k = 2.0
    def __init__(self) -> Any:
        self.w = 3.0
    def m(self, x: Any) -> Any:
        if x.sum() > 0:
            return x * self.w
        return x
    @classmethod
    def cm(cls, x: Any) -> Any:
        if x.sum() > 0:
            return x * cls.k
        return x
    @staticmethod
    def sm(x: Any) -> Any:
        if x.sum() > 0:
            return x * 4
        return x
    @property
    def p(self) -> Any:
        if self.x.sum() > 0:
            return self.x * 4
        return self.x
    def __call__(self, x: Any) -> Any:
        if x.sum() > 0:
            return x * 7
        return x
    def __getitem__(self, x: Any) -> Any:
        if x.sum() > 0:
            return x * 9
        return x
    def __add__(self, x: Any) -> Any:
        if x.sum() > 0:
            return x * 9
        return x


@case(X)
def methods(x: Any) -> Any:
    c = C()
    return c.m(x) + C.cm(x) + c.cm(x) + C.sm(x) + c(x)


@dataclasses.dataclass


class P:
    a: object
    b: object


NT = collections.namedtuple("NT", "a b")


@case(X)
def dc_carry(x: Any) -> Any:
    p = P(x, 0.0)
    while p.b < 4:
        p = P(p.a * 2, p.b + 1)
    return p.a * p.b


@case(X, grad=False)
def nt_carry(x: Any) -> Any:
    p = NT(x, x.sum()*0)
    while p.b < 4:
        p = NT(p.a * 2, p.b + 1)
    return p.a * p.b


@case(X, grad=False)
def nt_replace(x: Any) -> Any:
    p = NT(x, x.sum()*0)
    while p.b < 4:
        p = p._replace(a=p.a * 2, b=p.b + 1)
    return p.a * p.b


@case(X, grad=False)
def dict_carry(x: Any) -> Any:
    p = {"a": x, "b": x.sum()*0}
    while p["b"] < 4:
        p = {"a": p["a"] * 2, "b": p["b"] + 1}
    return p["a"] * p["b"]


@case(X)
def dict_update_for(x: Any) -> Any:
    p = {"a": x, "b": 0.0}
    for i in range(40):
        p["a"] = p["a"] * 1.01
        p["b"] += 1
    return p["a"] * p["b"]


@case(X)
def dc_mutate_for(x: Any) -> Any:
    p = P(x, 0.0)
    for i in range(40):
        p.a = p.a * 1.01
        p.b += 1
    return p.a * p.b


@case(X)
def list_append_for(x: Any) -> Any:
    r = []
    for i in range(40):
        r.append(x * i)
    return gc.stack(r)


def rec(x: Any, n: Any) -> Any:
    if n == 0:
        return x
    if x.sum() > 0:
        x = x * 2
    return rec(x, n - 1)


@case(X)
def recursion_py(x: Any) -> Any: return rec(x, 3)


@case(X)
def class_self_ref(x: Any) -> Any:
    return CC().go(x, 2)


class CC:
    k = 2.0
    def go(self, x: Any, n: Any) -> Any:
        if x.sum() > 0:
            x = x * CC.k
        return x if n == 0 else CC().go(x, n - 1)


@case(X)
def local_recursion(x: Any) -> Any:
    def down(v: Any, n: Any) -> Any:
        if v.sum() > 0:
            v = v * 2
        if n == 0:
            return v
        return down(v, n - 1)
    return down(x, 2)
