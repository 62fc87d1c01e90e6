"""Random numbers, shared by all modes: generators with a seed, and distributions.

>>> gc.random.manual_seed(0)
>>> gc.random.normal((2, 3))
"""

from graphc.frontends.random.generator import (
    Generator,
    bernoulli,
    categorical,
    choice,
    default_generator,
    dropout,
    exponential,
    get_state,
    gumbel,
    manual_seed,
    normal,
    permutation,
    rand,
    randint,
    randn,
    seed,
    set_state,
    shuffle,
    truncated_normal,
    uniform,
)

__all__ = [
    "Generator",
    "bernoulli",
    "categorical",
    "choice",
    "default_generator",
    "dropout",
    "exponential",
    "get_state",
    "gumbel",
    "manual_seed",
    "normal",
    "permutation",
    "rand",
    "randint",
    "randn",
    "seed",
    "set_state",
    "shuffle",
    "truncated_normal",
    "uniform",
]
