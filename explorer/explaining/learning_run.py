"""What a real run of `explorer train linear` went through, and the figures of one, recorded."""

import msgspec

__all__ = ["RECORDED", "LearningRun"]

Line = tuple[float, float]  # a and b of y = a x + b


class LearningRun(msgspec.Struct, frozen=True, kw_only=True):
    """The six steps of learning, in the numbers of one run of gradient descent.

    Attributes:
        points: examples (x, y) that the run learned from, all of them in every step.
        learning_rate: what a gradient is multiplied by before it is subtracted.
        steps: how many updates were made.
        first: a and b, as they were drawn and set before the first step.
        example: x and y of the first point.
        predicted: y of that x by the first a and b.
        losses: the mean squared error before each of some steps, by the step's number.
        gradient: the derivative of the first loss by a, and by b.
        second: a and b after one update.
        last: a and b after the last one.
        fitted: a and b of least squares, computed by NumPy in float64.

    >>> step = RECORDED.learning_rate * RECORDED.gradient[0]
    >>> round(RECORDED.first[0] - step - RECORDED.second[0], 6)
    0.0
    """

    points: int
    learning_rate: float
    steps: int
    first: Line
    example: tuple[float, float]
    predicted: float
    losses: dict[int, float]
    gradient: Line
    second: Line
    last: Line
    fitted: Line


# what `explorer.recipes.learning.measure_learning()` returned on a CPU with JAX 0.10; a test runs
# it again and compares
RECORDED = LearningRun(
    points=200,
    learning_rate=0.5,
    steps=200,
    first=(-0.570365846157074, 0.0),
    example=(0.2739233672618866, 1.4892809391021729),
    predicted=-0.15623652935028076,
    losses={
        1: 3.8142924308776855,
        2: 0.8717079162597656,
        5: 0.06975121051073074,
        10: 0.011108407750725746,
        20: 0.0104215107858181,
        200: 0.010421417653560638,
    },
    gradient=(-2.0475873947143555, -2.3895673751831055),
    second=(0.4534277319908142, 1.1947838068008423),
    last=(1.9873491525650024, 0.9920608997344971),
    fitted=(1.9873492604421181, 0.9920609147668557),
)
