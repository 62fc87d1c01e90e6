"""The exception tree of graphc.

Every error says what happened (the op, the types), where (the *user's* file and line), and what to do about it. Each class
also derives from the builtin exception that Python, NumPy or PyTorch code would expect, so ``except ValueError`` works.

    GraphcError
    ├── ShapeError (ValueError)            sizes that do not fit together
    ├── DTypeError (TypeError)             a dtype that the op does not take, or no common dtype
    ├── AxisError (ValueError, IndexError) an axis out of range, or named twice
    ├── ArgumentError (ValueError)         any other bad argument
    ├── OutOfBoundsError (IndexError)      an index outside its dimension
    ├── GradientError (RuntimeError)       a gradient that does not exist
    ├── InPlaceError (RuntimeError)        an in-place write that autograd or a view forbids
    ├── DonatedError (RuntimeError)        the use of a tensor that was donated to a traced function
    ├── TraceError (RuntimeError)          something that a traced function cannot do
    │   ├── ConcretizationError (TypeError)
    │   ├── LeakedTracerError
    │   ├── ControlFlowError (TypeError)
    │   ├── SideEffectError
    │   └── RetraceError               a trace that no_retrace() or max_traces forbids
    ├── StaticGraphError (RuntimeError)    misuse of Graph, Variable or Session
    │   ├── FeedError (ValueError)
    │   ├── UninitializedVariableError
    │   ├── WrongGraphError (ValueError)
    │   └── FinalizedGraphError
    ├── ParseError (ValueError)            malformed .gir text, spec or option
    ├── VerifyError (RuntimeError)         a graph that breaks an invariant of the IR
    ├── RewriteError (RuntimeError)        a rewrite rule or pass that breaks its contract
    ├── CheckError (AssertionError)        a run-time check that failed
    ├── NumericsError (FloatingPointError) a NaN or infinity that check_numerics found
    ├── FileError (OSError)                a file that is not there or cannot be read
    ├── DeviceError (RuntimeError)         a device that is not there, or memory that is not where it is asked for
    │   ├── MixedDeviceError               one op on tensors that are on different devices
    │   └── OutOfMemoryError (MemoryError) a device has no room for an array or a program
    └── BackendError (RuntimeError)        a backend that cannot compile or run
"""

from __future__ import annotations

from typing import ClassVar

from graphc.locations import Location, current_location


class GraphcError(Exception):
    """Base of everything graphc raises on purpose.

    ``message`` says what happened, ``hint`` how to mend it, ``location`` where the user's code did it (found from the call
    stack when not given). ``code`` is that of the class: ``graphc explain GC101`` prints its page in docs/errors, with an
    example and its mended form. ``str(error)`` shows all of it.
    """

    code: ClassVar[str] = "GC100"

    def __init__(self, message: str, *, hint: str | None = None, location: Location | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.location = location if location is not None else current_location(2)

    def __str__(self) -> str:
        return self.render()

    def render(self, *, location: bool = True) -> str:
        """The message, the user's line (unless ``location`` is False), the fix and the code, each on a line of its own."""
        text = self.message
        if location and self.location.line:
            text += f"\n  at {self.location.render()}"
        if self.hint:
            text += f"\n  fix: {self.hint}"
        return f"{text}\n  code: {self.code} (graphc explain {self.code})"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.hint, self.location))


def _rebuild(cls: type[GraphcError], message: str, hint: str | None, location: Location) -> GraphcError:
    return cls(message, hint=hint, location=location)


class ShapeError(GraphcError, ValueError):
    """Shapes that do not fit together."""

    code: ClassVar[str] = "GC101"


class DTypeError(GraphcError, TypeError):
    """A dtype that an op does not take, or dtypes without a common one."""

    code: ClassVar[str] = "GC102"


class AxisError(GraphcError, ValueError, IndexError):
    """An axis that is out of range or named twice."""

    code: ClassVar[str] = "GC103"


class ArgumentError(GraphcError, ValueError):
    """A bad argument that is neither a shape, a dtype nor an axis."""

    code: ClassVar[str] = "GC104"


class OutOfBoundsError(GraphcError, IndexError):
    """An index outside its dimension. graphc never clamps or wraps silently."""

    code: ClassVar[str] = "GC105"


class GradientError(GraphcError, RuntimeError):
    """A gradient that does not exist: an integer input, a non-scalar loss, a freed recording."""

    code: ClassVar[str] = "GC201"


class InPlaceError(GraphcError, RuntimeError):
    """An in-place write that autograd or a broadcast view forbids."""

    code: ClassVar[str] = "GC202"


class DonatedError(GraphcError, RuntimeError):
    """A tensor is used whose memory was given away: it was a donated argument of a traced function."""

    code: ClassVar[str] = "GC203"


class TraceError(GraphcError, RuntimeError):
    """Something that a traced function cannot do."""

    code: ClassVar[str] = "GC301"


class ConcretizationError(TraceError, TypeError):
    """The value of a tracer was needed while tracing (``if tensor:``, ``int(tensor)``, ``.item()``)."""

    code: ClassVar[str] = "GC302"


class ControlFlowError(TraceError, TypeError):
    """Python control flow on arrays that has no meaning as a branch or loop of a graph: a name has two types, or no value."""

    code: ClassVar[str] = "GC304"


class SideEffectError(TraceError):
    """A side effect that would happen once, while tracing, and not in each run."""

    code: ClassVar[str] = "GC305"


class LeakedTracerError(TraceError):
    """A tracer was used outside of the trace that made it."""

    code: ClassVar[str] = "GC303"


class RetraceError(TraceError):
    """A traced function would have been traced again where that is forbidden."""

    code: ClassVar[str] = "GC306"


class RetraceWarning(UserWarning):
    """A function is traced again and again."""


class StaticGraphError(GraphcError, RuntimeError):
    """Misuse of a static Graph, a Variable or a Session."""

    code: ClassVar[str] = "GC401"


class FeedError(StaticGraphError, ValueError):
    """A feed that is missing, unknown, or of the wrong shape or dtype."""

    code: ClassVar[str] = "GC402"


class UninitializedVariableError(StaticGraphError):
    """A Variable was read before its initializer ran in this Session."""

    code: ClassVar[str] = "GC403"


class WrongGraphError(StaticGraphError, ValueError):
    """A tensor of another graph was used."""

    code: ClassVar[str] = "GC404"


class FinalizedGraphError(StaticGraphError):
    """An op was added to a finalized graph."""

    code: ClassVar[str] = "GC405"


class ParseError(GraphcError, ValueError):
    """Malformed text: .gir, a spec such as ``f32[batch, 784]``, or a pass option."""

    code: ClassVar[str] = "GC501"


class VerifyError(GraphcError, RuntimeError):
    """A graph that breaks an invariant of the IR. In a graph that graphc made itself, this is a bug in graphc."""

    code: ClassVar[str] = "GC502"


class RewriteError(GraphcError, RuntimeError):
    """A rewrite rule or a pass that breaks its contract (changes a type, never settles)."""

    code: ClassVar[str] = "GC503"


class CheckError(GraphcError, AssertionError):
    """A run-time check in the graph failed."""

    code: ClassVar[str] = "GC601"


class NumericsError(GraphcError, FloatingPointError):
    """An op made a NaN or an infinity, within ``gc.check_numerics()``."""

    code: ClassVar[str] = "GC602"


class FileError(GraphcError, OSError):
    """A file that is not there or cannot be read."""

    code: ClassVar[str] = "GC701"


class DeviceError(GraphcError, RuntimeError):
    """A device that is not there, or tensors on different devices."""

    code: ClassVar[str] = "GC702"


class OutOfMemoryError(DeviceError, MemoryError):
    """A device has no room for an array, or for what a program needs to run."""

    code: ClassVar[str] = "GC711"


class MixedDeviceError(DeviceError):
    """One op on tensors that are on different devices."""

    code: ClassVar[str] = "GC715"


class BackendError(GraphcError, RuntimeError):
    """A backend that cannot compile or run what it was given."""

    code: ClassVar[str] = "GC703"
