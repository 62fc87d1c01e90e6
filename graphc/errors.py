"""The exception tree of graphc.

Every error says what happened (the op, the types), where (the *user's* file and line), and what to do about it. Each class
also derives from the builtin exception that Python, NumPy or PyTorch code would expect, so ``except ValueError`` works.

    GraphcError
    ├── ShapeError (ValueError)            sizes that do not fit together
    │   └── SizeDivisionError (ZeroDivisionError)  a size is divided by 0
    ├── DTypeError (TypeError)             a dtype that the op does not take, or no common dtype
    ├── AxisError (ValueError, IndexError) an axis out of range, or named twice
    ├── ArgumentError (ValueError)         any other bad argument
    │   └── ArgumentTypeError (TypeError)  an argument of a type that the function does not take
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

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from graphc.locations import Location, current_location
from graphc.operands import Operand, operands_of_call


class Cause(NamedTuple):
    """Why an error of a class is raised, where one class has several reasons, each with a fix of its own."""

    code: str
    meaning: str


class GraphcError(Exception):
    """Base of everything graphc raises on purpose.

    ``message`` says what happened, ``hint`` how to mend it, ``location`` where the user's code did it, and ``operands`` which
    arrays it was done to; the last two are found from the call stack when no location is given. ``code`` is that of the
    ``cause``, or else of the class: ``graphc explain GC111`` prints its page in docs/errors, with an example and its mended
    form. ``str(error)`` shows all of it.
    """

    code: str = "GC100"
    #: Whether the arrays that the failed call was given are shown: not where a statement is wrong, and no call.
    shows_operands: ClassVar[bool] = True

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        location: Location | None = None,
        cause: Cause | None = None,
        operands: Sequence[Operand] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.operands = tuple(operands)
        if location is None:
            location = current_location(2)
            if self.shows_operands:
                self.operands = self.operands or operands_of_call(2)
        self.location = location
        self.cause = cause
        if cause is not None:
            self.code = cause.code

    def __str__(self) -> str:
        return self.render()

    def render(self, *, location: bool = True) -> str:
        """The message, the user's line (unless ``location`` is False), the operands, the fix and the code, each on a line of
        its own."""
        text = self.message
        if location and self.location.line:
            text += f"\n  at {self.location.render()}"
        for operand in self.operands:
            text += f"\n  operand {operand.render(self.location)}"
        if self.hint:
            text += f"\n  fix: {self.hint}"
        return f"{text}\n  code: {self.code} (graphc explain {self.code})"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.hint, self.location, self.cause, self.operands))


def _rebuild(
    cls: type[GraphcError],
    message: str,
    hint: str | None,
    location: Location,
    cause: Cause | None,
    operands: Sequence[Operand],
) -> GraphcError:
    return cls(message, hint=hint, location=location, cause=cause, operands=operands)


class ShapeError(GraphcError, ValueError):
    """Shapes that do not fit together."""

    code: str = "GC101"

    REGION = Cause("GC107", "A branch or step gives another shape than the others, or than the carry.")
    LENGTHS = Cause("GC108", "Arrays that are gone along together have different numbers of slices or examples.")
    BROADCAST = Cause("GC111", "Shapes that do not broadcast.")
    CONTRACTION = Cause("GC112", "The sizes that a product sums over differ: of `matmul`, `tensordot`, `einsum`, `linear`.")
    RESHAPE = Cause("GC113", "A reshape to another number of elements, or with a -1 that cannot be found.")
    JOINED = Cause("GC114", "Arrays that are to be joined differ in another axis: `concat`, `stack`.")
    DIMENSIONS = Cause("GC115", "An array has another number of dimensions than the function takes.")
    WRITTEN = Cause("GC116", "A value does not fit where it is written: `x[i] = value`.")
    DEPENDS_ON_VALUES = Cause("GC117", "A size that depends on values: of `nonzero`, `x[mask]`, `unique` in a graph.")
    GUARD = Cause("GC118", "Sizes of a call break a relation that the graph needs.")
    DECLARED = Cause("GC119", "An array does not have the shape that was declared for it.")
    UNKNOWN_SIZE = Cause("GC120", "The value of a size is needed, and only a run knows it.")
    CHANNELS = Cause("GC121", "A weight, bias, mask or statistic does not fit its input.")
    RAGGED = Cause("GC122", "Nested lists that are not a rectangular array of numbers.")
    NOT_ONE_ELEMENT = Cause("GC123", "A single value is needed, and the array has another number of elements.")
    MASK = Cause("GC124", "A boolean mask does not fit the dimensions that it selects from.")
    WINDOW = Cause("GC125", "A window or kernel is larger than what it moves over, or a slice reaches beyond its axis.")
    EMPTY = Cause("GC126", "A reduction over no elements, which has no value.")
    SIZE = Cause("GC127", "A shape or size is not one: not an integer, or negative.")
    PARTS = Cause("GC128", "A size does not divide into equal parts.")
    TARGET = Cause("GC129", "The target of a loss does not fit its input.")


class SizeDivisionError(ShapeError, ZeroDivisionError):
    """A size is divided by 0."""

    code: str = "GC109"


class DTypeError(GraphcError, TypeError):
    """A dtype that an op does not take, or dtypes without a common one."""

    code: str = "GC102"

    UNKNOWN = Cause("GC131", "Something is not a dtype that graphc knows.")
    PROMOTION = Cause("GC132", "Dtypes that have no common one.")
    BOOL = Cause("GC133", "Arithmetic on bools.")
    INDEX = Cause("GC134", "An index is not an integer or a bool.")
    NUMPY = Cause("GC135", "A NumPy function that has no counterpart in graphc, or an option of one.")
    DECLARED = Cause("GC136", "An array does not have the dtype that was declared for it.")
    IN_PLACE = Cause("GC137", "The result of an in-place operation does not fit into the dtype that it is written to.")
    REGION = Cause("GC139", "A branch or step gives another dtype than the others, or than the carry.")
    OPERAND = Cause("GC138", "Something that is not an array of numbers is given to a function that takes arrays.")


class AxisError(GraphcError, ValueError, IndexError):
    """An axis that is out of range or named twice."""

    code: str = "GC103"

    TWICE = Cause("GC141", "An axis is named twice, or axes that must be paired are not.")
    TYPE = Cause("GC142", "An axis is not an integer.")


class ArgumentError(GraphcError, ValueError):
    """A bad argument that is neither a shape, a dtype nor an axis."""

    code: str = "GC104"

    COUNT = Cause("GC151", "Another number of inputs, operands or values than are needed.")
    CHOICE = Cause("GC152", "An option has none of the values that there are.")
    INTEGER_RANGE = Cause("GC153", "A Python integer does not fit into the dtype.")
    SUBSCRIPTS = Cause("GC154", "Malformed subscripts of `einsum`.")
    STRUCTURE = Cause("GC155", "Nested lists, tuples or dicts of arrays differ in structure.")
    FUNCTION = Cause("GC156", "A function is needed, and something else was given, or one that gives the wrong thing.")
    PARAMETER = Cause("GC157", "An option of `jit` names no parameter of the function.")
    MAPPED = Cause("GC158", "`in_axes` or `out_axes` do not fit the arguments or results of `vmap`.")
    RANGE = Cause("GC159", "A number is outside of the range that the function takes.")
    SEED = Cause("GC160", "Something that is no seed or state of a random generator.")
    OPTIMIZER = Cause("GC161", "Parameters, gradients or a saved state do not fit an optimizer.")
    SETTING = Cause("GC162", "An environment variable has a value that graphc does not know.")
    INDEX = Cause("GC163", "A form of index that arrays do not take.")
    NAME = Cause("GC166", "Something that cannot be a name in a graph, or of a size.")
    COMMAND = Cause("GC165", "A target, input or option of the `graphc` command that fits nothing.")


class ArgumentTypeError(ArgumentError, TypeError):
    """An argument of a type that the function does not take."""

    code: str = "GC106"


class OutOfBoundsError(GraphcError, IndexError):
    """An index outside its dimension. graphc never clamps or wraps silently."""

    code: str = "GC105"

    TOO_MANY = Cause("GC145", "More indices than the array has dimensions.")


class GradientError(GraphcError, RuntimeError):
    """A gradient that does not exist: an integer input, a non-scalar loss, a freed recording."""

    code: str = "GC201"

    NOT_SCALAR = Cause("GC211", "A gradient of something that is not a scalar.")
    TWICE = Cause("GC212", "A second `backward()` through a recording that the first one freed.")
    NOT_FLOATING = Cause("GC213", "A gradient of, or with respect to, something that is not floating.")
    UNCONNECTED = Cause("GC214", "No leaf that requires a gradient flows into the result.")
    NOT_A_LEAF = Cause("GC215", "Something that only leaves can do, done to the result of an op.")
    COTANGENT = Cause("GC216", "A given gradient, cotangent or tangent is of another type or structure than its value.")
    UNBOUNDED = Cause("GC217", "Reverse mode through a `while_loop` without `max_steps`.")
    CALLBACK = Cause("GC218", "A gradient through a Python function that was called with `gc.callback`.")
    CUSTOM = Cause("GC219", "A `custom_vjp` whose backward function does not give what it must.")
    HIDDEN = Cause("GC220", "The value of a tensor that requires a gradient leaves autograd.")
    OUTSIDE = Cause("GC221", "`backward()` in a branch, loop or transform would change `.grad` outside of it.")


class InPlaceError(GraphcError, RuntimeError):
    """An in-place write that autograd or a broadcast view forbids."""

    code: str = "GC202"

    LEAF = Cause("GC231", "A leaf that requires a gradient is changed in place.")
    SAVED = Cause("GC232", "A tensor that a gradient needs was changed in place.")
    READ_ONLY = Cause("GC233", "A tensor over read-only memory is changed in place.")
    SHAPE = Cause("GC234", "An in-place operation has a result of another shape.")
    SHARED = Cause("GC235", "Memory that is seen in two ways is written, and the ways would disagree.")
    NOT_AN_ARRAY = Cause("GC236", "Something that is not a tensor is to be changed in place.")
    STATIC = Cause("GC237", "A Variable of a static graph is changed in place.")


class DonatedError(GraphcError, RuntimeError):
    """A tensor is used whose memory was given away: it was a donated argument of a traced function."""

    code: str = "GC203"


class TraceError(GraphcError, RuntimeError):
    """Something that a traced function cannot do."""

    code: str = "GC301"


class ConcretizationError(TraceError, TypeError):
    """The value of a tracer was needed while tracing (``if tensor:``, ``int(tensor)``, ``.item()``)."""

    code: str = "GC302"

    CONDITION = Cause("GC321", "A Python condition needs the value of an array.")
    INDEX = Cause("GC322", "An array is used as a Python index or size.")


class ControlFlowError(TraceError, TypeError):
    """Python control flow on arrays that has no meaning as a branch or loop of a graph: a name has two types, or no value."""

    code: str = "GC304"
    shows_operands: ClassVar[bool] = False

    UNDEFINED = Cause("GC341", "A variable has no value on one of the ways through a branch or loop.")
    CONDITION = Cause("GC343", "The condition of an `if` or `while` is an array that is not a scalar.")
    UNROLLED = Cause("GC344", "A loop that cannot be one loop of the graph is too long to be unrolled.")
    MEMORY = Cause("GC345", "In-place writes in a loop whose memory cannot be told.")


class SideEffectError(TraceError):
    """A side effect that would happen once, while tracing, and not in each run."""

    code: str = "GC305"
    shows_operands: ClassVar[bool] = False

    PRINT = Cause("GC351", "`print` of a traced array.")
    RANDOM = Cause("GC352", "Random numbers of Python or NumPy are drawn while tracing.")
    CLOCK = Cause("GC353", "The clock is read while tracing.")
    ATTRIBUTE = Cause("GC355", "An attribute or a global is set while tracing.")


class LeakedTracerError(TraceError):
    """A tracer was used outside of the trace that made it."""

    code: str = "GC303"

    SIZE = Cause("GC331", "A symbolic size was kept from a trace that has ended.")
    FOREIGN = Cause("GC332", "An array of one graph is used in another.")


class RetraceError(TraceError):
    """A traced function would have been traced again where that is forbidden."""

    code: str = "GC306"

    FORBIDDEN = Cause("GC361", "A new trace within `gc.no_retrace()`.")


class RetraceWarning(UserWarning):
    """A function is traced again and again."""


class StaticGraphError(GraphcError, RuntimeError):
    """Misuse of a static Graph, a Variable or a Session."""

    code: str = "GC401"

    CLOSED = Cause("GC411", "A Session that is closed.")
    NO_SESSION = Cause("GC412", "A Session is needed, and none is the default.")
    UNKNOWN_FETCH = Cause("GC413", "A fetch, or a name, that the graph does not have.")
    ASSIGNED_TWICE = Cause("GC414", "A Variable is assigned twice in one run, in no order.")


class FeedError(StaticGraphError, ValueError):
    """A feed that is missing, unknown, or of the wrong shape or dtype."""

    code: str = "GC402"
    shows_operands: ClassVar[bool] = False  # those of the call are fetches; what is fed is named where it is wrong

    MISSING = Cause("GC421", "A placeholder that is needed is not fed.")
    SHAPE = Cause("GC422", "A feed has the wrong shape.")
    DTYPE = Cause("GC423", "A feed has the wrong dtype, or values that the dtype cannot hold.")
    UNKNOWN = Cause("GC424", "A key of the feeds is not a tensor of the graph.")


class UninitializedVariableError(StaticGraphError):
    """A Variable was read before its initializer ran in this Session."""

    code: str = "GC403"


class WrongGraphError(StaticGraphError, ValueError):
    """A tensor of another graph was used."""

    code: str = "GC404"


class FinalizedGraphError(StaticGraphError):
    """An op was added to a finalized graph."""

    code: str = "GC405"


class ParseError(GraphcError, ValueError):
    """Malformed text: .gir, a spec such as ``f32[batch, 784]``, or a pass option."""

    code: str = "GC501"


class VerifyError(GraphcError, RuntimeError):
    """A graph that breaks an invariant of the IR. In a graph that graphc made itself, this is a bug in graphc."""

    code: str = "GC502"


class RewriteError(GraphcError, RuntimeError):
    """A rewrite rule or a pass that breaks its contract (changes a type, never settles)."""

    code: str = "GC503"


class CheckError(GraphcError, AssertionError):
    """A run-time check in the graph failed."""

    code: str = "GC601"


class NumericsError(GraphcError, FloatingPointError):
    """An op made a NaN or an infinity, within ``gc.check_numerics()``."""

    code: str = "GC602"


class FileError(GraphcError, OSError):
    """A file that is not there or cannot be read."""

    code: str = "GC701"


class DeviceError(GraphcError, RuntimeError):
    """A device that is not there, or tensors on different devices."""

    code: str = "GC702"


class OutOfMemoryError(DeviceError, MemoryError):
    """A device has no room for an array, or for what a program needs to run."""

    code: str = "GC711"


class MixedDeviceError(DeviceError):
    """One op on tensors that are on different devices."""

    code: str = "GC715"


class BackendError(GraphcError, RuntimeError):
    """A backend that cannot compile or run what it was given."""

    code: str = "GC703"

    TARGET = Cause("GC731", "There is no such target.")
    MISSING = Cause("GC732", "What a target needs is not installed.")
