"""Matrix products: register tiles written in LLVM IR, cache-blocked loops around them, and dot_general in terms of them."""
