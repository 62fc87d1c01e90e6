"""The front ends: eager, tracing and static, over one set of array functions."""

if __name__ != "graphc.frontends":
    raise ImportError(f"this folder is installed as graphc.frontends: write `import graphc.frontends`, not `import {__name__}`")
