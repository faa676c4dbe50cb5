"""Roles from use: what each parameter does in the program, whatever it is called.

A weight multiplies what flows through the network, a bias is added to it, an embedding is
looked up. `trace_roles` reads this off the jaxpr of the forward pass.
"""

from explorer.roles.dataflow.records import ParameterRole, Use
from explorer.roles.dataflow.tracing import RoleTrace, trace, trace_roles

__all__ = ["ParameterRole", "RoleTrace", "Use", "trace", "trace_roles"]
