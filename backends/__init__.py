"""The backends: a graph becomes an executable for one target."""

if __name__ != "graphc.backends":
    raise ImportError(f"this folder is installed as graphc.backends: write `import graphc.backends`, not `import {__name__}`")
