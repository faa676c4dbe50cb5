"""Roles from use: what each parameter does in the program, whatever it is called.

A weight multiplies what flows through the network, a bias is added to it, an embedding is
looked up. `trace_roles` reads this off the jaxpr of the forward pass. A parameter is
followed through functions of parameters alone (`1 + scale`, `a @ b`, a mask, a norm),
until it meets data:

    contracted, convolved, a system of equations   kernel
    multiplied, divided                             scale
    added, taken away                               bias
    rows that the input indexes, or a one-hot       embedding, "looked up"
    rows taken by position, then added              embedding, "added"
    put beside the stream, or a loop's start        embedding, "placed"
    anything else (the sink of a softmax)           other

Rows that the network chooses are an expert's where they act on what an expert put out.
Of several uses the first role of kernel, embedding, scale, bias decides, but that a table
which is looked up and projects as well stays an embedding, and is tied. What a parameter
does is decided in `meetings`, how it gets there in `walk` and `programs`.
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
