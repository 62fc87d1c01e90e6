"""The tracing front end: `@gc.jit`."""
