"""The backends: a graph becomes an executable for one target."""

if __name__ != "graphc.backends":
    raise ImportError(f"this folder is installed as graphc.backends: import that; as {__name__} it would exist twice")
