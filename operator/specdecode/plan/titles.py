"""What the lines of the ledger are called in words. The names themselves are for programs."""

from collections.abc import Mapping

TITLES: Mapping[str, str] = {
    "budget": "budget of the engine",
    "targetWeights": "target weights",
    "draftWeights": "draft weights",
    "rotaryCaches": "rotary caches",
    "weights": "weights",
    "draftNotCharged": "draft outside the budget",
    "activationPeak": "activation peak",
    "activationPeakAndCudaGraphs": "activations and CUDA graphs",
    "buffers": "buffers of the runner",
    "nonTorch": "outside PyTorch",
    "cudaGraphs": "CUDA graphs",
    "calibration": "correction by measurement",
    "safety": "kept back",
    "besideWeights": "all beside the weights",
    "kvCache": "KV cache",
    "tokens": "tokens in the KV cache",
    "tokensInMeasuredKvCache": "tokens in that KV cache",
    "requests": "requests of maxModelLen",
    "outsideBudget": "beside the budget",
    "spare": "left of the card",
}


def title(name: str) -> str:
    """The words for a line; its name where there are none."""
    return TITLES.get(name, name)
