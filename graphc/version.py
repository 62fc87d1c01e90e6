"""The version of graphc, in a module of its own so that every layer can read it."""

from typing import Final

__version__: Final = "0.1.0"
