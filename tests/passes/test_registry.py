"""Pipelines written as text, and what is said about malformed ones."""

import pytest

from graphc.errors import ParseError
from graphc.passes.canonicalize import Canonicalize
from graphc.passes.dce import Dce
from graphc.passes.inline import Inline
from graphc.passes.pipeline import Pipeline, pipeline
from graphc.passes.registry import PASSES, parse_pipeline


def test_passes_and_options() -> None:
    assert parse_pipeline("inline, canonicalize{fast_math=true},dce") == (Inline(), Canonicalize(fast_math=True), Dce())
    assert parse_pipeline("canonicalize{ fast_math = false }") == (Canonicalize(),)
    assert parse_pipeline("canonicalize{}") == (Canonicalize(),)
    assert parse_pipeline("") == ()


@pytest.mark.parametrize("fast_math", [False, True])
def test_a_pipeline_prints_as_it_parses(fast_math: bool) -> None:
    whole = pipeline("cpu", fast_math=fast_math)
    assert parse_pipeline(str(whole)) == whole.passes
    assert ("fast_math=true" in str(whole)) is fast_math


def test_every_pass_is_registered_under_its_name() -> None:
    assert all(cls.name == name for name, cls in PASSES.items())
    assert Pipeline("all", parse_pipeline(",".join(PASSES))).passes == tuple(cls() for cls in PASSES.values())


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("canonicalise", "there is no pass called 'canonicalise'", "did you mean 'canonicalize'?"),
        ("zzz", "there is no pass called 'zzz'", f"known: {', '.join(sorted(PASSES))}"),
        ("canonicalize{fastmath=true}", "the pass canonicalize has no option 'fastmath'", "did you mean 'fast_math'?"),
        ("cse{x=1}", "the pass cse has no option 'x'", "it has no options"),
        ("canonicalize{fast_math=yes}", "canonicalize{fast_math} must be true or false, not 'yes'", None),
        (
            "canonicalize{fast_math}",
            "the option 'fast_math' of the pass canonicalize needs a value",
            "write fast_math=true",
        ),
        (
            "canonicalize{fast_math=true,fast_math=false}",
            "the option 'fast_math' of the pass canonicalize is given twice",
            None,
        ),
        ("cse dce", "malformed pipeline at column 5: 'dce'", "write: inline,canonicalize{fast_math=true}"),
        ("cse,,dce", "malformed pipeline at column 5: ',dce'", "write: inline,canonicalize{fast_math=true}"),
        ("canonicalize{", "malformed pipeline at column 13: '{'", "write: inline,canonicalize{fast_math=true}"),
        ("cse,", "a pass must follow the last comma of the pipeline 'cse,'", None),
    ],
)
def test_errors(text: str, message: str, hint: str | None) -> None:
    with pytest.raises(ParseError) as caught:
        parse_pipeline(text)
    assert (caught.value.message, caught.value.hint) == (message, hint)
