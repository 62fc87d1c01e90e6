"""Patterns: what matches, what is bound, and what a wrongly written rule is told."""

import numpy as np
import pytest

import graphc.ops  # noqa: F401 - fills the registry
from graphc.dtypes import bool_, float32, int32
from graphc.ir.builder import Builder
from graphc.ir.graph import Value
from graphc.ir.types import TensorType
from graphc.rewrite.pattern import (
    Const,
    Environment,
    Literal,
    Op,
    Pattern,
    RuleList,
    Var,
    constant_of,
    floats,
    op,
    splat_of,
)

x, y = Var("x"), Var("y")


@pytest.fixture
def b() -> Builder:
    return Builder()


def parameter(b: Builder, text: str = "x", dtype: object = float32) -> Value:
    return b.parameter(TensorType(dtype, (3,)), text)  # type: ignore[arg-type]


def match(pattern: Pattern, value: Value, uses: int = 1) -> Environment | None:
    for variant in pattern.variants():
        env: Environment = {}
        if variant.match(value, env, lambda _: uses):
            return env
    return None


def test_var_binds_and_repeats(b: Builder) -> None:
    p, q = parameter(b, "p"), parameter(b, "q")
    assert match(x + y, b.add(p, q)) == {"x": p, "y": q}
    assert match(x + x, b.add(p, p)) == {"x": p}
    assert match(x + x, b.add(p, q)) is None


def test_var_with_a_type(b: Builder) -> None:
    f = Var("f", floats)
    assert match(f, parameter(b)) is not None
    assert match(f, parameter(b, dtype=int32)) is None


@pytest.mark.parametrize(
    ("pattern", "value", "dtype", "matches"),
    [
        (0, 0.0, float32, True),
        (0, -0.0, float32, False),
        (-0.0, -0.0, float32, True),
        (-0.0, 0.0, float32, False),
        (-0.0, 0, int32, True),
        (1, 1, int32, True),
        (1, True, bool_, False),
        (True, True, bool_, True),
        (True, 1, int32, False),
        (0.5, 0.5, float32, True),
        (0.5, 0, int32, False),
        (float("inf"), np.inf, float32, True),
    ],
)
def test_literal(b: Builder, pattern: float, value: float, dtype: object, matches: bool) -> None:
    scalar = b.constant(value, dtype)  # type: ignore[arg-type]
    wide = b.full((2, 3), value, dtype)  # type: ignore[arg-type]
    assert (match(Literal(pattern), scalar) is not None) is matches
    assert (match(Literal(pattern), wide) is not None) is matches


def test_literal_is_no_parameter_nor_array(b: Builder) -> None:
    assert match(Literal(0), parameter(b)) is None
    assert match(Literal(0), b.broadcast_in_dim(parameter(b), shape=(2, 3), dims=(1,))) is None
    assert match(Literal(0), b.constant(np.zeros(3))) is None


def test_const_takes_arrays_and_their_broadcasts(b: Builder) -> None:
    array = b.constant([1.0, 2.0], float32)
    wide = b.broadcast_in_dim(array, shape=(3, 2), dims=(1,))
    assert match(Const("c"), array) == {"c": array}
    assert match(Const("c"), wide) == {"c": wide}
    assert match(Const("c"), parameter(b)) is None
    assert constant_of(wide) is array.node.attributes["value"]
    assert splat_of(wide) is None
    assert splat_of(b.full((3,), 2.0, float32)) == 2.0


def test_commutative_ops_match_in_either_order(b: Builder) -> None:
    p, q = parameter(b, "p"), parameter(b, "q")
    assert match(x + -y, b.add(b.neg(p), q)) == {"x": q, "y": p}
    assert match((x + -y).ordered(), b.add(b.neg(p), q)) is None
    assert match(x - -y, b.sub(b.neg(p), q)) is None


def test_variants_are_only_those_that_differ() -> None:
    assert len((x + x).variants()) == 1
    assert len((x + y).variants()) == 2
    assert len(((x + y) * (x - y)).variants()) == 4
    assert len((x - y).variants()) == 1


def test_one_use(b: Builder) -> None:
    value = b.neg(b.neg(parameter(b)))
    pattern = -((-x).once())
    assert match(pattern, value, uses=1) is not None
    assert match(pattern, value, uses=2) is None


def test_labels_attributes_and_any_operands(b: Builder) -> None:
    p = parameter(b)
    joined = b.concatenate(p, p, p, axis=0)
    assert match(op("concatenate", ...).as_("whole"), joined) == {"whole": joined}
    assert match(op("concatenate", ..., axis=0), joined) is not None
    assert match(op("concatenate", ..., axis=1), joined) is None
    assert match(op("concatenate", ..., axis=lambda a: a < 1), joined) is not None
    assert match(op(("neg", "concatenate"), ...), joined) is not None
    assert match(op(None, ...), joined) is not None
    assert match(op(None, ...).of(op("neg", x)), joined) is None
    assert match(op(None, ...).of(op("neg", x)), b.add(b.neg(p), b.neg(p))) is not None


def test_operators_make_the_primitives_they_look_like() -> None:
    patterns = [
        x + y, x - y, x * y, x / y, x // y, x % y, x**y, x & y, x | y, x ^ y, x << y, x >> y, -x, ~x,
        1 + x, 1 - x, 1 * x, 1 / x, 1 // x, 1 % x, 1 << x, 1 >> x,
    ]  # fmt: skip
    names = (
        "add sub mul div floor_divide remainder pow bitwise_and bitwise_or bitwise_xor shift_left shift_right neg "
        "bitwise_not add sub mul div floor_divide remainder shift_left shift_right"
    )
    assert [p.primitives for p in patterns] == [(name,) for name in names.split()]
    assert all(isinstance(p.operands[0], Literal) for p in patterns[14:] if p.operands)


def test_a_pattern_prints_like_a_term() -> None:
    assert str((x + Literal(0)).as_("sum")) == "add(x, 0) as sum"
    assert str(op("transpose", Var("f", floats), permutation=(1, 0))) == "transpose(f: floats){permutation}"


def test_accepts_by_primitive_names_only(b: Builder) -> None:
    p = parameter(b)
    pattern = x + -y
    (first, second) = (v for v in pattern.variants() if isinstance(v, Op))
    assert first.accepts(b.add(p, b.neg(p)).node) and not second.accepts(b.add(p, b.neg(p)).node)


def test_a_rule_is_named_after_its_function() -> None:
    rules = RuleList("test")

    @rules.rule(x + 0)
    def add_nothing(x: Value) -> Value:
        """x + 0 → x"""
        return x

    assert [r.name for r in rules] == ["add_nothing"]
    assert str(add_nothing) == "add_nothing: x + 0 → x"
    assert add_nothing.primitives() == {"add"}
    assert not add_nothing.needs_fast_math
    assert repr(rules) == "<RuleList test: 1 rules>"


def test_a_rule_may_only_take_what_its_pattern_binds() -> None:
    with pytest.raises(TypeError, match="wrong takes 'z', which its pattern does not bind"):

        @RuleList("test").rule(x + y)
        def wrong(x: Value, z: Value) -> Value:
            """x + y → x"""
            return x


def test_a_rule_needs_a_docstring() -> None:
    with pytest.raises(TypeError, match="has no docstring"):

        @RuleList("test").rule(x + y)
        def silent(x: Value) -> Value:
            return x


def test_two_rules_of_one_name_are_refused() -> None:
    rules = RuleList("test")

    def add() -> None:
        @rules.rule(x + y)
        def same(x: Value) -> Value:
            """x + y → x"""
            return x

    add()
    with pytest.raises(TypeError, match="two rules of test are named 'same'"):
        add()
