"""Python control flow on arrays: the source of a traced function is converted so that what depends on arrays is traced.

:mod:`source` finds the source and compiles it anew, :mod:`jumps` and :mod:`transform` change it, with :mod:`analysis` to say
which names matter, and the converted function calls :mod:`operators`, which decide by the value at hand: for a Python value
they do what Python does, for a traced array they emit control flow.
"""
