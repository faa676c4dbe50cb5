from .analyses.comparison import (
    Comparison,
)
from .analyses.ledger import (
    Ledger,
)
from .analyses.summary import (
    Summary,
)
from .api.adapters import (
    add_lora,
    extract_lora,
    load_lora,
    plan_lora,
    save_lora,
)
from .api.explaining import (
    explain,
)
from .api.generation import (
    embed,
    evaluate_text,
    generate,
    generate_text,
)
from .api.models import (
    audit_roles,
    build_model,
    report_roles,
)
from .api.plans import (
    plan,
    sweep,
)
from .api.pruning import (
    plan_pruning,
    prune,
    prune_masks,
)
from .api.quantising import (
    dequantize,
    quantize,
    sensitivity,
)
from .api.reporting import (
    report,
)
from .api.structure import (
    compare,
    count_bytes,
    count_parameters,
    count_tensors,
    explore,
    ledger,
    summarize,
)
from .api.transforms import (
    combine_models,
    factorize,
)
from .api.values import (
    check_values,
    describe,
    diff,
    digest,
    learned,
    load,
    spectrum,
)
from .api.writing import (
    save,
)
from .errors import (
    ExplorerError,
    FormatError,
    InputError,
    MismatchError,
    MissingPackageError,
    TargetError,
    TreeError,
    UnsafePickleError,
)
from .generation.settings import (
    GenerationSettings,
)
from .inventory.inventory import (
    Inventory,
)
from .inventory.tensor import (
    Kind,
    TensorSpec,
    Tie,
)
from .objects.splitting import (
    decay_mask,
    split_weights_biases,
)
from .pretrained.loading import (
    load_pretrained,
)
from .pretrained.saving import (
    to_checkpoint,
)
from .roles.dataflow.records import (
    ParameterRole,
)
from .roles.dataflow.tracing import (
    trace_roles,
)
from .sizing.records import (
    Lora,
    MemoryPlan,
    Term,
    Variation,
    Workload,
)
from .sizing.sweep import (
    Sweep,
)
from .transforms.adapters.applying import (
    apply_lora,
)
from .transforms.adapters.merging import (
    merge_lora,
)
from .transforms.calibration.moments import (
    gather_moments,
)
from .transforms.calibration.settings import (
    Calibration,
)
from .transforms.evaluation import (
    Evaluator,
)
from .transforms.pruning.masking import (
    apply_masks,
)
from .transforms.pruning.structure.shrink import (
    shrink,
)
from .transforms.quantisation.dot import (
    dot,
)
from .transforms.quantisation.quantized import (
    Quantized,
)
from .transforms.records import (
    Change,
)
from .tree.partition import (
    combine,
    partition,
)

__version__: str

__all__ = [
    "Calibration",
    "Change",
    "Comparison",
    "Evaluator",
    "ExplorerError",
    "FormatError",
    "GenerationSettings",
    "InputError",
    "Inventory",
    "Kind",
    "Ledger",
    "Lora",
    "MemoryPlan",
    "MismatchError",
    "MissingPackageError",
    "ParameterRole",
    "Quantized",
    "Summary",
    "Sweep",
    "TargetError",
    "TensorSpec",
    "Term",
    "Tie",
    "TreeError",
    "UnsafePickleError",
    "Variation",
    "Workload",
    "add_lora",
    "apply_lora",
    "apply_masks",
    "audit_roles",
    "build_model",
    "check_values",
    "combine",
    "combine_models",
    "compare",
    "count_bytes",
    "count_parameters",
    "count_tensors",
    "decay_mask",
    "dequantize",
    "describe",
    "diff",
    "digest",
    "dot",
    "embed",
    "evaluate_text",
    "explain",
    "explore",
    "extract_lora",
    "factorize",
    "gather_moments",
    "generate",
    "generate_text",
    "learned",
    "ledger",
    "load",
    "load_lora",
    "load_pretrained",
    "merge_lora",
    "partition",
    "plan",
    "plan_lora",
    "plan_pruning",
    "prune",
    "prune_masks",
    "quantize",
    "report",
    "report_roles",
    "save",
    "save_lora",
    "sensitivity",
    "shrink",
    "spectrum",
    "split_weights_biases",
    "summarize",
    "sweep",
    "to_checkpoint",
    "trace_roles",
]
