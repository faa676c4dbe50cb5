"""XLA's flags for programs that run a few times: most of their time would be the compiler's."""

import jax

__all__ = ["FEW_PASSES", "flags_of_small_programs"]

FEW_PASSES = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
)


def flags_of_small_programs() -> tuple[str, ...]:
    """Return the flags that compile small programs in half of the time, where XLA has them.

    An unknown flag ends the process. A program in one part is compiled in two thirds of the
    time of one in many, which are for cores that do nothing else.

    >>> all(flag.startswith("--xla_cpu") for flag in flags_of_small_programs())
    True
    """
    if not (0, 7) <= tuple(map(int, jax.__version__.split(".")[:2])) <= (0, 10):
        return ()
    return (
        "--xla_cpu_use_fusion_emitters=false",
        "--xla_cpu_parallel_codegen_split_count=1",
    )
