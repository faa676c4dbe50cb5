"""Roles from use: what each parameter does in the program, whatever it is called.

A weight multiplies the activations, a bias is added to them, an embedding is looked up.
`trace_roles` reads this from the jaxpr of the forward pass with an abstract interpreter: each
parameter is followed through functions of parameters alone (`1 + scale`, `a @ b`, a mask, a
norm), until an operation combines it with data:

    contracted, convolved, a system of equations   kernel
    multiplied, divided                             scale
    added, subtracted                               bias
    rows that the input indexes, or a one-hot       embedding, "looked up"
    rows taken by position, then added              embedding, "added"
    concatenated to activations, or a loop's start  embedding, "placed"
    anything else (the sink of a softmax)           other

Rows that the network itself chooses belong to an expert if they act on the output of an
expert. Of several uses the first of kernel, embedding, scale, bias decides; but a table that is
looked up and is the output projection too stays an embedding, and is tied. `values` is the
lattice, `rules` decides what an operation makes of a parameter, `walk` and `programs` interpret
the program, and `findings` collects the uses.
"""

from explorer.roles.dataflow.records import ParameterRole, Use
from explorer.roles.dataflow.tracing import RoleTrace, trace, trace_roles

__all__ = [
    "ParameterRole",
    "RoleTrace",
    "Use",
    "trace",
    "trace_roles",
]
