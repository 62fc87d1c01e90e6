"""Places in source code."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

from graphc import locations
from graphc.locations import (
    UNKNOWN,
    Location,
    TextLocation,
    current_frame,
    current_location,
    excerpt_around,
    is_internal_code,
)


def test_the_current_location_is_the_callers_line() -> None:
    place = current_location()
    assert place.filename == __file__
    assert place.source_line == "    place = current_location()"
    assert place.function == "test_the_current_location_is_the_callers_line"
    assert place.column == 13


def test_the_column_counts_characters_not_bytes() -> None:
    text, place = "größe …", current_location()
    assert text
    assert place.source_line[place.column - 1 :].startswith("current_location()")


def test_render_shows_the_line_with_a_caret() -> None:
    rendered = current_location().render()
    head, line, caret = rendered.split("\n")
    assert head.startswith(f"{__file__}:") and head.endswith(", in test_render_shows_the_line_with_a_caret")
    assert line == "    rendered = current_location().render()"
    assert caret[caret.index("^") :] == "^"
    assert line[caret.index("^") :].startswith("current_location()")


def test_render_without_the_source() -> None:
    assert Location("missing.py", 12).render() == "missing.py:12"
    assert Location("missing.py", 12, 3, "f").render() == "missing.py:12, in f"


def test_equality_text_and_pickling() -> None:
    place = Location("a.py", 3, 4, "f")
    assert place == Location("a.py", 3, 4)
    assert hash(place) == hash(Location("a.py", 3, 4))
    assert place != Location("a.py", 3, 5)
    assert place != "a.py:3:4"
    assert str(place) == "a.py:3:4"
    assert repr(place) == "Location(a.py:3:4)"
    lazy = current_location()
    assert pickle.loads(pickle.dumps(lazy)) == lazy
    assert UNKNOWN.line == 0


def test_a_place_in_a_text_carries_its_line() -> None:
    place = TextLocation("net.gir", 2, 5, "  %0 = oops")
    assert place.render() == "net.gir:2\n    %0 = oops\n      ^"
    again = pickle.loads(pickle.dumps(place))
    assert again.render() == place.render()
    assert place == Location("net.gir", 2, 5)


def test_a_long_line_is_cut_around_the_caret() -> None:
    text = "a" * 500 + "X" + "b" * 500
    excerpt, caret = excerpt_around(text, 500)
    assert len(excerpt) == 122
    assert excerpt[caret] == "X"
    assert excerpt.startswith("…a") and excerpt.endswith("b…")
    assert excerpt_around("short", 3) == ("short", 3)
    start, caret = excerpt_around(text, 0)
    assert (start[0], start[-1], caret) == ("a", "…", 0)
    end, caret = excerpt_around(text, len(text))
    assert (end[0], end[-1], end[caret:]) == ("…", "b", "")
    assert excerpt_around("a\tb", 2) == ("a b", 2)


def test_graphcs_own_frames_are_skipped() -> None:
    assert is_internal_code(Location.render.__code__)
    assert not is_internal_code(test_graphcs_own_frames_are_skipped.__code__)
    root = Path(locations.__file__).parent.parent
    for path in ("graphc/ir/builder.py", "frontends/array/creation.py", "backends/numba_cpu/adapter.py"):
        assert is_internal_code(compile("0", str(root / path), "exec"))
    for path in ("examples/train.py", "tests/test_locations.py", "graphc_user.py"):
        assert not is_internal_code(compile("0", str(root / path), "exec"))
    frame = current_frame()
    assert frame is not None
    assert frame.f_code.co_filename == __file__


def test_where_every_caller_is_graphc_the_place_is_unknown(tmp_path: Path) -> None:
    code = compile("result = current_location()", os.path.join(locations._PACKAGE, "made_up.py"), "exec")
    script = tmp_path / "main.py"
    script.write_text(
        "import sys\nfrom graphc.locations import current_frame, is_internal_code, UNKNOWN, current_location\n"
        "place = current_location()\nprint(place.line)\n"
    )
    result = subprocess.run([sys.executable, str(script)], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == "3"
    namespace = {"current_location": current_location}
    exec(code, namespace)
    assert namespace["result"].filename == __file__  # the frame above the internal one
