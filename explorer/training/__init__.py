"""Training: pure jitted steps, parameters watched as they learn, runs that resume.

    >>> from explorer.training import create_state, fit, make_train_step

Importing the package does not load JAX: a name is imported when it is first used, from where
`__init__.pyi` imports it.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)

del attach_stub
