"""Control flow on arrays: branches, loops and scans, recomputation, and gradients of one's own. The same in every mode.

In a graph they are one op each, whose branches and bodies are graphs of their own (:mod:`graphc.ops.control_flow`). Eagerly
branches and loops are ordinary Python, and what runs is recorded op by op.
"""
