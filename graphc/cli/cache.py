"""``graphc cache``: what is kept on disk of compiled kernels, whether it is whole, and how to be rid of it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from graphc.cli.render import add_output_options, to_json_text, write_result
from graphc.errors import ArgumentError, FileError
from graphc.locations import UNKNOWN
from graphc.runtime.cache_folder import FOLDER, cache_settings, check_folder
from graphc.runtime.disk_cache import CHOICE, SUFFIX, DiskCache, EntryFile

_DESCRIPTION: Final = """\
Kernels that graphc compiles are kept on disk, so that the next process loads them instead of compiling them again. A kernel
is found by its text, the versions of graphc, Numba and LLVM, and the processor: a change of any compiles it anew, so there
is never a need to clear the cache but for room. Beside them is kept which of two ways to compute a matrix product was
faster when it was measured: kernels of graphc's own, or BLAS."""

_EPILOG: Final = """\
examples:
  graphc cache list
  graphc cache verify --remove
  graphc cache clear
  GRAPHC_CACHE_DIR=/tmp/kernels graphc cache list --json

environment:
  GRAPHC_CACHE=off   nothing is read or kept; what is there stays
  GRAPHC_CACHE_DIR   the folder to use (default: graphc, where the platform keeps caches)
  GRAPHC_CACHE_SIZE  bytes to take at most, such as 512M (default: 1G); what was not used for longest goes first

Kernels are code that is run, so they are kept in a folder of this user's alone: one that others may write to is not used."""

_ACTIONS: Final = {
    "list": "show each kernel and choice with its size and when it was last used",
    "clear": "delete all kernels and choices",
    "verify": "check that each is whole; exits with 1 where one is damaged",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``graphc cache``."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")
    for name, summary in _ACTIONS.items():
        action = actions.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", allow_abbrev=False)
        if name == "verify":
            action.add_argument("--remove", action="store_true", help="delete those that are damaged")
        action.add_argument("--json", action="store_true", help="print JSON")
        add_output_options(action, formats=False, color=False)


def run(arguments: argparse.Namespace) -> int:
    """Run ``graphc cache``."""
    cache = _cache()
    if arguments.action == "verify":
        report, text, code = _verify(cache, remove=arguments.remove)
    elif arguments.action == "clear":
        report, text, code = _clear(cache)
    else:
        report, text, code = _list(cache)
    write_result(to_json_text(report) if arguments.json else text, arguments.output)
    return code


def _cache() -> DiskCache:
    """The cache that the environment names, be it off or not."""
    settings = cache_settings()
    if settings.folder is None:
        raise ArgumentError("there is no folder for a cache", hint=f"name one in {FOLDER}", cause=ArgumentError.COMMAND)
    reason = check_folder(settings.folder)
    if reason is not None:
        raise FileError(f"{settings.folder} is not used: {reason}", hint=f"name another folder in {FOLDER}", location=UNKNOWN)
    return DiskCache(settings.folder, settings.limit)


def summary(cache: DiskCache) -> str:
    """The folder and what is in it, for people."""
    count, size = cache.size()
    return f"{cache.folder}: {kernels(count, cache.choices())}, {in_bytes(size)} of at most {in_bytes(cache.limit)}"


def kernels(count: int, choices: int = 0) -> str:
    """``count`` entries, of which ``choices`` are no kernels."""
    text = f"{count - choices} kernel{'' if count - choices == 1 else 's'}"
    return text + (f" and {choices} choice{'' if choices == 1 else 's'}" if choices else "")


def is_choice(file: EntryFile) -> bool:
    """Whether the entry says which of two ways to compute something is faster."""
    return file.path.name.startswith(CHOICE)


def choice_text(fields: Mapping[str, str]) -> str:
    """What was chosen, for people: ``product f32 (256, 512) @ (512, 384), 1 thread: ours, 0.41 ms (blas 0.45 ms)``."""
    try:
        times = {who: f"{float(fields[who]) * 1e3:.3g} ms" for who in ("ours", "blas")}
        chosen, other = fields["chosen"], "blas" if fields["chosen"] == "ours" else "ours"
        return f"{fields['name']}: {chosen}, {times[chosen]} ({other} {times[other]})"
    except (KeyError, ValueError):
        return fields.get("name", "?")


def in_bytes(size: int) -> str:
    """A number of bytes in the unit that suits it: ``1.5 MiB``."""
    amount = float(size)
    for unit in ("bytes", "KiB", "MiB"):
        if amount < 1024:
            return f"{size} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


_Answer = tuple[dict[str, Any], str, int]


def _list(cache: DiskCache) -> _Answer:
    files = list(cache.entries())
    report = {
        "folder": str(cache.folder),
        "limit": cache.limit,
        "bytes": sum(file.size for file in files),
        "kernels": [_as_data(file) for file in files if not is_choice(file)],
        "choices": [_as_data(file) for file in files if is_choice(file)],
    }
    columns: Sequence[Callable[[EntryFile], str]] = (
        _name,
        lambda file: in_bytes(file.size),
        lambda file: time.strftime("%Y-%m-%d %H:%M", time.localtime(file.used)),
        lambda file: _key(file).removeprefix(CHOICE)[:12],
    )
    rows = [[column(file) for column in columns] for file in files]
    widths = [max((len(row[number]) for row in rows), default=0) for number in range(len(columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return report, "\n".join([summary(cache), *lines]) + "\n", 0


def _name(file: EntryFile) -> str:
    if file.entry is None:
        return f"damaged: {file.damage}"
    return choice_text(file.entry.fields) if is_choice(file) else file.entry.fields.get("name", "?")


def _clear(cache: DiskCache) -> _Answer:
    choices = cache.choices()
    count, freed = cache.clear()
    left, _ = cache.size()
    kept = cache.choices()
    report = {"folder": str(cache.folder), "removed": count, "freed": freed, "left": left}
    text = f"removed {kernels(count, choices - kept)} from {cache.folder}, which frees {in_bytes(freed)}\n"
    if left:
        text += f"{kernels(left, kept)} could not be removed\n"
    return report, text, 0 if left == 0 else 1


def _verify(cache: DiskCache, *, remove: bool) -> _Answer:
    files = list(cache.entries())
    damaged = [file for file in files if file.entry is None]
    removed = [file for file in damaged if remove and cache.remove(file)]
    report = {
        "folder": str(cache.folder),
        "checked": len(files),
        "damaged": [{**_as_data(file), "removed": file in removed} for file in damaged],
    }
    lines = [f"{file.path}: {file.damage}{' (removed)' if file in removed else ''}" for file in damaged]
    whole = "all are whole" if not damaged else f"{len(damaged)} {'is' if len(damaged) == 1 else 'are'} damaged"
    lines.append(f"checked {kernels(len(files), sum(map(is_choice, files)))} in {cache.folder}: {whole}")
    if len(removed) < len(damaged) and not remove:
        lines.append("  they do no harm, and are replaced when they are next needed; --remove deletes them now")
    return report, "\n".join(lines) + "\n", 1 if damaged else 0


def _key(file: EntryFile) -> str:
    return file.path.name.removesuffix(SUFFIX)


def _as_data(file: EntryFile) -> dict[str, Any]:
    fields = dict(file.entry.fields) if file.entry else {}
    return {"key": _key(file), "bytes": file.size, "used": file.used, **fields, "damage": file.damage}
