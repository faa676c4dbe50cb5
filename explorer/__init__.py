"""What is in this model? Tensors, parameters, weights and biases, counted right.

    >>> import explorer as ex, numpy as np
    >>> inventory = ex.explore({"kernel": np.ones((2, 3), "float32"), "bias": np.zeros(3, "float32")})
    >>> inventory.num_parameters, inventory.num_weights, inventory.num_biases
    (9, 6, 3)

Importing the package loads neither JAX nor NumPy: a name is imported when it is first used,
from where `__init__.pyi` imports it.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
__version__ = "0.1.0"

del attach_stub
