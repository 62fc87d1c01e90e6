"""Graphs as text that several tests of the IR use."""

from typing import Final

LOSS: Final = """\
graph @loss(%x: f32[n, 784], %w: f32[784, 10], %v: f32[m], %ok: bool[]) -> (f32[n, 10], i64[], f32[784, 10]) {
  guard n == 2*m
  guard n%2 <= max(4, m)
  alias 2 -> %w
  effect check(%ok) {message = "a \\"quoted\\" … line\\n"}
  %0: f32[n, 10] = dot_general(%x, %w) {contract = ((1), (0)), batch = ((), ())}
  %1: i64[] = dimension() {dim = (n+1)//2}
  %2: f32[784, 10] = stop_gradient(%w)
  return %0, %1, %2
}"""

NESTED: Final = """\
graph @outer(%x: f32[n, 3]) -> (f32[n, 3]) {
  %0: f32[n, 3] = call(%x) {graph = graph @inner(%y: f32[k, 3]) -> (f32[k, 3]) {
    %0: f32[k, 3] = call(%y) {graph = graph @innermost(%z: f32[k, 3]) -> (f32[k, 3]) {
      %0: f32[k, 3] = neg(%z)
      return %0
    }}
    return %0
  }}
  return %0
}"""

SORTED: Final = """\
graph @largest(%x: f32[4, 9]) -> (f32[4, 3], i64[4, 3]) {
  %0: f32[4, 3], %1: i64[4, 3] = top_k(%x) {k = 3}
  return %0, %1
}"""

CONSTANTS: Final = """\
graph @constants() -> (f32[2, 3], bool[2], i8[3], f64[], bf16[2], f16[1], u64[1], f32[0, 3]) {
  %0: f32[2, 3] = constant() {value = dense<f32[2, 3]: [[0.1, -0.0, inf], [-inf, nan, 1e-45]]>}
  %1: bool[2] = constant() {value = dense<bool[2]: [true, false]>}
  %2: i8[3] = constant() {value = dense<i8[3]: [-128, 0, 127]>}
  %3: f64[] = constant() {value = dense<f64[]: 0.1>}
  %4: bf16[2] = constant() {value = dense<bf16[2]: [1.0, 3.00406e+38]>}
  %5: f16[1] = constant() {value = dense<f16[1]: [65504.0]>}
  %6: u64[1] = constant() {value = dense<u64[1]: [18446744073709551615]>}
  %7: f32[0, 3] = constant() {value = dense<f32[0, 3]: base64 "">}
  return %0, %1, %2, %3, %4, %5, %6, %7
}"""

EMPTY: Final = """\
graph @empty() -> () {
  return
}"""

ALL: Final = {"loss": LOSS, "nested": NESTED, "sorted": SORTED, "constants": CONSTANTS, "empty": EMPTY}
