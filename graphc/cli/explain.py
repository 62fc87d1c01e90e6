"""``graphc explain``: what an error code means, with an example and its mended form."""

from __future__ import annotations

import argparse
import json
from importlib import resources
from typing import Final, NamedTuple

from graphc import errors
from graphc.cli.render import add_output_options, write_result
from graphc.errors import ArgumentError, Cause, FileError, GraphcError
from graphc.locations import UNKNOWN

_DESCRIPTION: Final = """\
Print the page of an error code, which the last line of every error names: what it means, code that raises it, and the
same code mended. Without a code: a list of all."""

_EPILOG: Final = """\
examples:
  graphc explain GC111
  graphc explain ShapeError.BROADCAST
  graphc explain"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``graphc explain``."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("code", metavar="CODE", nargs="?", help="as GC111, or the name: ShapeError, ShapeError.BROADCAST")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_output_options(parser, formats=False, color=False)


def run(arguments: argparse.Namespace) -> int:
    """Run ``graphc explain``."""
    entries = error_codes()
    if arguments.code is None:
        if arguments.json:
            data = [{"code": e.code, "class": e.cls.__name__, "cause": e.cause, "meaning": e.meaning} for e in entries]
            text = json.dumps(data, indent=2) + "\n"
        else:
            width = max(len(entry.name) for entry in entries)
            text = "".join(f"{e.code}  {e.name:<{width}}  {e.meaning}\n" for e in entries)
    else:
        wanted = arguments.code.casefold()
        found = next((e for e in entries if wanted in (e.code.casefold(), e.name.casefold())), None)
        if found is None:
            raise ArgumentError(
                f"there is no error {arguments.code!r}",
                hint="graphc explain lists all",
                location=UNKNOWN,
                cause=ArgumentError.COMMAND,
            )
        text = page(found.code)
        if arguments.json:
            described = {"code": found.code, "class": found.cls.__name__, "cause": found.cause, "page": text}
            text = json.dumps(described, indent=2) + "\n"
    write_result(text, arguments.output)
    return 0


class ErrorCode(NamedTuple):
    """A code: its class of errors, and the name of the cause in it, empty for the code of the class."""

    code: str
    cls: type[GraphcError]
    cause: str
    meaning: str

    @property
    def name(self) -> str:
        return f"{self.cls.__name__}.{self.cause}" if self.cause else self.cls.__name__


def error_codes() -> list[ErrorCode]:
    """Every code that an error can have, in order."""
    result = []
    for cls in vars(errors).values():
        if isinstance(cls, type) and issubclass(cls, GraphcError) and cls is not GraphcError:
            result.append(ErrorCode(cls.code, cls, "", (cls.__doc__ or "").splitlines()[0]))
            causes = [(name, cause) for name, cause in vars(cls).items() if isinstance(cause, Cause)]
            result += [ErrorCode(cause.code, cls, name, cause.meaning) for name, cause in causes]
    return sorted(result, key=lambda entry: entry.code)


def page(code: str) -> str:
    """The page of ``code`` in docs/errors, which is installed with the package."""
    try:
        return resources.files("graphc.error_pages").joinpath(f"{code}.md").read_text(encoding="utf-8")
    except (OSError, ModuleNotFoundError) as error:
        raise FileError(f"the page of {code} is not installed: {error}", hint="reinstall graphc", location=UNKNOWN) from None
