"""What a model needs to run and to train: memory term by term, what it fits, how fast, for how much.

Formulas are JAX-free. A term is exact where shapes, a format's arithmetic or the compiler decide
it; every other is an estimate with its low and high, and says how it is made.
"""
