"""Settings in the environment that are looked at on hot paths.

``os.environ.get`` encodes the name, fails within, and decodes: most of a microsecond. The mapping that CPython keeps behind
it answers ``encoded(name) in VARIABLES`` in a tenth of that; where there is none, ``os.environ`` itself does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

VARIABLES: Final[Mapping[Any, Any]] = getattr(os.environ, "_data", os.environ)


def encoded(name: str) -> Any:
    """The key of a variable in :data:`VARIABLES`."""
    encode: Any = str if VARIABLES is os.environ else getattr(os.environ, "encodekey", str)
    return encode(name)
