"""What is shown of an uncaught error: the user's frames."""

import os
import subprocess
import sys
import types

import pytest

import graphc as gc
from graphc import tracebacks
from graphc.errors import GraphcError, ShapeError

SCRIPT = """\
import graphc as gc

def loss(x, y):
    return (x + y).sum()

gc.jit(loss)(gc.ones((2, 3)), gc.ones((4,)))
"""


def _stderr(tmp_path, script=SCRIPT, **environment):
    path = tmp_path / "script.py"
    path.write_text(script)
    plain = {key: value for key, value in os.environ.items() if key != "GRAPHC_TRACEBACK"}
    command = [sys.executable, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=plain | environment)
    assert done.returncode == 1
    return done.stderr


def test_only_the_users_frames_are_shown(tmp_path):
    text = _stderr(tmp_path)
    assert [line.split(", in ")[1] for line in text.splitlines() if line.startswith("  File ")] == ["<module>", "loss"]
    assert text.splitlines()[0] == "Traceback (most recent call last):"
    assert "graphc.errors.ShapeError: add: shapes (2, 3) and (4,) do not broadcast" in text
    assert text.rstrip().endswith("code: GC111 (graphc explain GC111)")


def test_what_was_caught_on_the_way_is_not_shown(tmp_path):
    script = "import graphc as gc\ngc.ones((5, 4)) @ gc.ones((3, 2))\n"
    assert "another exception" not in _stderr(tmp_path, script)
    assert "another exception" in _stderr(tmp_path, script, GRAPHC_TRACEBACK="full")


def test_all_frames_are_shown_if_asked_for(tmp_path):
    assert "jit.py" in _stderr(tmp_path, GRAPHC_TRACEBACK="full")


def test_other_errors_are_shown_whole(tmp_path):
    text = _stderr(tmp_path, "import graphc as gc\ndef f(x):\n    raise KeyError(1)\ngc.jit(f)(gc.ones(2))\n")
    assert "jit.py" in text
    assert "KeyError: 1" in text


def test_a_hook_that_was_there_is_called(tmp_path):
    script = (
        "import sys\n"
        "sys.excepthook = lambda kind, error, tb: print('mine', kind.__name__, tb.tb_next is None, file=sys.stderr)\n"
        "import graphc as gc\n"
        "gc.ones((2, 3)) + gc.ones((4,))\n"
    )
    assert _stderr(tmp_path, script) == "mine ShapeError True\n"


def test_who_catches_the_error_sees_every_frame():
    with pytest.raises(ShapeError) as caught:
        gc.ones((2, 3)) + gc.ones((4,))
    assert len(caught.traceback) > 1
    assert tracebacks.without_internal_frames(caught.tb).tb_next is None


def test_ipython_shows_the_users_frames_too(monkeypatch):
    handlers, shown = {}, []

    class Shell:
        def set_custom_exc(self, classes, handler):
            handlers[classes] = handler

        def showtraceback(self, what, tb_offset=None):
            shown.append(what[2])

    shell = Shell()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.delenv("GRAPHC_TRACEBACK", raising=False)
    tracebacks.install()
    with pytest.raises(ShapeError) as caught:
        gc.ones((2, 3)) + gc.ones((4,))
    handlers[(GraphcError,)](shell, caught.type, caught.value, caught.tb)
    assert shown[0].tb_next is None
