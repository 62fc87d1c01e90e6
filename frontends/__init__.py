"""The front ends: eager, tracing and static, over one set of array functions."""

if __name__ != "graphc.frontends":
    raise ImportError(f"this folder is installed as graphc.frontends: import that; as {__name__} it would exist twice")
