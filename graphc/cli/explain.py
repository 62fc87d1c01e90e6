"""``graphc explain``: what an error code means, with an example and its mended form."""

from __future__ import annotations

import argparse
import json
from importlib import resources
from typing import Final

from graphc import errors
from graphc.cli.render import add_output_options, write_result
from graphc.errors import ArgumentError, FileError, GraphcError
from graphc.locations import UNKNOWN

_DESCRIPTION: Final = """\
Print the page of an error code, which the last line of every error names: what it means, code that raises it, and the
same code mended. Without a code: a list of all."""

_EPILOG: Final = """\
examples:
  graphc explain GC302
  graphc explain ConcretizationError
  graphc explain"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``graphc explain``."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("code", metavar="CODE", nargs="?", help="as GC302, or the name of the error's class")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_output_options(parser, formats=False, color=False)


def run(arguments: argparse.Namespace) -> int:
    """Run ``graphc explain``."""
    classes = {cls.code: cls for cls in error_classes()}
    if arguments.code is None:
        summaries = {code: (cls.__name__, (cls.__doc__ or "").splitlines()[0]) for code, cls in sorted(classes.items())}
        if arguments.json:
            data = [{"code": code, "class": name, "meaning": meaning} for code, (name, meaning) in summaries.items()]
            text = json.dumps(data, indent=2) + "\n"
        else:
            width = max(len(name) for name, _ in summaries.values())
            text = "".join(f"{code}  {name:<{width}}  {meaning}\n" for code, (name, meaning) in summaries.items())
    else:
        wanted = arguments.code.casefold()
        found = next((cls for code, cls in classes.items() if wanted in (code.casefold(), cls.__name__.casefold())), None)
        if found is None:
            raise ArgumentError(f"there is no error {arguments.code!r}", hint="graphc explain lists all", location=UNKNOWN)
        text = page(found)
        if arguments.json:
            text = json.dumps({"code": found.code, "class": found.__name__, "page": text}, indent=2) + "\n"
    write_result(text, arguments.output)
    return 0


def error_classes() -> list[type[GraphcError]]:
    """Every class of errors that graphc raises."""
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, GraphcError)]
    return [c for c in classes if c is not GraphcError]


def page(cls: type[GraphcError]) -> str:
    """The page of ``cls`` in docs/errors, which is installed with the package."""
    try:
        return resources.files("graphc.error_pages").joinpath(f"{cls.code}.md").read_text(encoding="utf-8")
    except (OSError, ModuleNotFoundError) as error:
        raise FileError(
            f"the page of {cls.code} is not installed: {error}", hint="reinstall graphc", location=UNKNOWN
        ) from None
