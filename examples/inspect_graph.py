"""Look at a program at every stage: the graph of a function, its gradient, what the passes did, and the kernels.

    python examples/inspect_graph.py --output loss.dot
    python examples/inspect_graph.py --stage gradient

The command `graphc` prints the same stages of any function:

    graphc dump examples/inspect_graph.py:loss --input "f32[n, 64]" --input "f32[64, 10]" --input "i64[n]" --stage source

The function is the loss of a linear classifier of scikit-learn's digits (E. Alpaydin and C. Kaynak, UCI repository, 1998).
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import graphc as gc
from graphc.ir import structural_hash, structurally_equal, to_dot
from graphc.ir.graph import Graph
from graphc.passes.pipeline import pipeline
from graphc.passes.trace import PassTrace

STAGES = ("traced", "recorded", "gradient", "passes", "kernels", "dot")


def loss(x: gc.Tensor, w: gc.Tensor, y: gc.Tensor) -> gc.Tensor:
    """The cross entropy of a linear classifier, with a penalty on its weights."""
    return gc.cross_entropy(x @ w, y) + 1e-3 * (w * w).sum()


def traced() -> Graph:
    """The graph of ``loss`` without data: for any number of images."""
    return gc.jit(loss).graph(gc.spec("f32[n, 64]"), gc.spec("f32[64, 10]"), gc.spec("i64[n]"))


def gradient() -> Graph:
    """The graph of value and gradient: `gc.grad` and friends within a traced function become a part of its graph."""
    both = gc.jit(gc.value_and_grad(loss, argnums=1), name="loss_and_gradient")
    return both.graph(gc.spec("f32[n, 64]"), gc.spec("f32[64, 10]"), gc.spec("i64[n]"))


def recorded(x: np.ndarray, w: np.ndarray, y: np.ndarray) -> Graph:
    """The graph of what eager code did with these arrays, nothing being traced."""
    arguments = [gc.from_numpy(a) for a in (x, w, y)]
    with gc.record("loss") as recording:
        value = loss(*arguments)
    return recording.graph(outputs=[value], inputs=arguments)


def show(title: str, text: str, lines: int = 45) -> None:
    """Print a section, not too much of it."""
    shown = text.rstrip().splitlines()
    print(f"\n== {title}\n")
    print("\n".join(shown[:lines]))
    if len(shown) > lines:
        print(f"… {len(shown) - lines} more lines")


def main() -> None:
    """Print each stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=[*STAGES, "all"], default="all", help="what to print (default: all)")
    parser.add_argument("--lines", type=int, default=45, help="of each section, at most (default: 45)")
    parser.add_argument("--output", type=Path, default=Path("loss.dot"), help="the DOT file (default: loss.dot)")
    args = parser.parse_args()
    stages = STAGES if args.stage == "all" else (args.stage,)

    digits = load_digits()
    x, y = (digits.data[:100] / 16).astype(np.float32), digits.target[:100]
    w = np.random.default_rng(0).normal(0, 0.1, (64, 10)).astype(np.float32)

    if "traced" in stages:
        graph = traced()
        show("Traced, for any number n of images", str(graph), args.lines)
        same = structurally_equal(gc.parse(str(graph)), graph)
        print(f"\nread back from its text: {'equal' if same else 'different'}; hash {structural_hash(graph)[:16]}")

    if "recorded" in stages:
        eager, jitted = recorded(x, w, y), gc.jit(loss).graph(x, w, y)
        show("Recorded from eager code, for 100 images", str(eager), args.lines)
        a, b = (structural_hash(pipeline("cpu").run(g)) for g in (eager, jitted))
        print(f"\noptimized hash of what eager code did: {a[:16]}\noptimized hash of what jit traced:      {b[:16]}")

    differentiated = gradient()
    trace = PassTrace()
    optimized = pipeline("cpu").run(differentiated, trace=trace)
    if "gradient" in stages:
        show("The gradient, optimized", str(optimized), args.lines)
    if "passes" in stages:
        show("What the passes did: nodes before and after, and how often each rule fired", str(trace), args.lines)
    if "kernels" in stages:
        compiled = gc.compile_graph(differentiated)
        show("The kernels' loops", compiled.stages()["kernels"], args.lines)
        show("The kernels' source, for Numba", compiled.stages()["source"], args.lines)
        value, slope = compiled(x, w, y)
        exact, exact_slope = gc.compile_graph(differentiated, "reference")(x, w, y)
        difference = max(abs(value - exact), np.abs(slope - exact_slope).max())
        print(f"\nloss of 100 images: {value:.6f}; the kernels and the reference interpreter differ by {difference:.1e}")
    if "dot" in stages:
        args.output.write_text(to_dot(optimized))
        print(f"\nsaved {args.output}; to draw it: dot -Tsvg {args.output} -o loss.svg")


if __name__ == "__main__":
    main()
