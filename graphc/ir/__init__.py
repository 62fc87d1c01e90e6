"""The intermediate representation: types, graphs, text form and verifier."""
