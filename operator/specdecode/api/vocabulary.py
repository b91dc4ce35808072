"""The closed sets of words that the resource, the plan and the judgement share, and the names on the wire."""

from enum import StrEnum

GROUP = "specdecode.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "SpecDecodeDeployment"
PLURAL = "specdecodedeployments"
SINGULAR = "specdecodedeployment"
SHORT_NAME = "sdd"

FIELD_MANAGER = "specdecode-operator"
"""The one field manager of every write."""

MAX_NAME_LENGTH = 45
"""Name + ReplicaSet and pod suffixes must stay below the 63 characters of labels and host names."""

CACHE_MOUNT = "/models"
"""Where the cache claim is mounted; also HF_HOME of the engine."""

LABEL_DEPLOYMENT = "specdecode.io/deployment"
LABEL_MODE = "specdecode.io/mode"
LABEL_ARM = "specdecode.io/arm"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"

ANNOTATION_RETRY = "specdecode.io/retry"
ANNOTATION_PAUSED = "specdecode.io/paused"
ANNOTATION_FORCE_MODE = "specdecode.io/force-mode"

ANNOTATION_MODE = "specdecode.io/mode"
ANNOTATION_SPEC_HASH = "specdecode.io/spec-hash"
ANNOTATION_INTENT_HASH = "specdecode.io/intent-hash"
ANNOTATION_ROLLED_BACK_FOR = "specdecode.io/rolled-back-for"
ANNOTATION_ROLLED_BACK_FROM = "specdecode.io/rolled-back-from"
ANNOTATION_REASON = "specdecode.io/reason"


class Mode(StrEnum):
    """What runs. For methods without a separate draft model the first two read "as requested"."""

    QUANTIZED_DRAFT = "QuantizedDraft"
    DRAFT = "Draft"
    NGRAM = "NGram"
    OFF = "Off"


class Fallback(StrEnum):
    """What may run instead of the requested mode. `Off` is always last and never written."""

    DRAFT = "Draft"
    NGRAM = "NGram"


class Arm(StrEnum):
    """The replicas that serve as asked, and the one kept without speculation for a live baseline."""

    MAIN = "main"
    CONTROL = "control"


class Action(StrEnum):
    """Whether the guard acts or only reports."""

    ENFORCE = "Enforce"
    RECOMMEND = "Recommend"


class Method(StrEnum):
    """How tokens are proposed, as vLLM spells it."""

    DRAFT_MODEL = "draft_model"
    NGRAM = "ngram"
    NGRAM_GPU = "ngram_gpu"
    EAGLE = "eagle"
    EAGLE3 = "eagle3"
    MEDUSA = "medusa"
    MLP_SPECULATOR = "mlp_speculator"
    MTP = "mtp"
    SUFFIX = "suffix"
    DFLASH = "dflash"
    DSPARK = "dspark"


METHODS_WITHOUT_DRAFT = frozenset({Method.NGRAM, Method.NGRAM_GPU, Method.SUFFIX})
"""Methods that load no weights for proposing."""

METHODS_NGRAM = frozenset({Method.NGRAM, Method.NGRAM_GPU})
"""Methods that are the mode `NGram`."""

METHODS_WITH_OPTIONAL_DRAFT = frozenset({Method.MTP, Method.DSPARK})
"""Methods whose head usually ships inside the target's checkpoint."""


class KvCacheDtype(StrEnum):
    """How the KV cache is stored, as vLLM spells it."""

    AUTO = "auto"
    BFLOAT16 = "bfloat16"
    FP8 = "fp8"
    FP8_E4M3 = "fp8_e4m3"
    FP8_E5M2 = "fp8_e5m2"


class Dtype(StrEnum):
    """How weights that are not quantised are loaded, as vLLM spells it."""

    AUTO = "auto"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
