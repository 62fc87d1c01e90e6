"""The backends: a graph becomes an executable for one target."""

if __name__ != "graphc.backends":
    raise ImportError(f"this folder is installed as graphc.backends, so import that; `import {__name__}` would load it twice")
