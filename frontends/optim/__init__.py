"""Optimizers, shared by all modes: ``step()`` as in PyTorch, ``init``/``update`` over pytrees, ``minimize`` in static
graphs.

>>> opt = gc.optim.Adam(model.parameters(), lr=1e-3)
>>> opt.zero_grad(); loss.backward(); opt.step()
"""

from graphc.frontends.optim.adaptive import Adagrad, Adam, AdamW, RMSprop
from graphc.frontends.optim.clipping import clip_grad_norm_, clip_grad_value_
from graphc.frontends.optim.optimizer import Optimizer
from graphc.frontends.optim.schedulers import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearWarmup,
    LRScheduler,
    StepLR,
)
from graphc.frontends.optim.sgd import SGD, Lion

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "CosineAnnealingLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearWarmup",
    "Lion",
    "Optimizer",
    "RMSprop",
    "StepLR",
    "clip_grad_norm_",
    "clip_grad_value_",
]
