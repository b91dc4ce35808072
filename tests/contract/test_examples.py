"""Every example starts: each mode of its ladder passes vLLM's parser and config classes, and means what was planned."""

from pathlib import Path

import pytest
import yaml
from contract.commandlines import command_lines, expected

from rehearsal.vllm.ask import Accepted, Asked
from specdecode.api.resource import Rejection, SpecDecodeDeployment, parse

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

EXAMPLES = [
    path
    for path in sorted((Path(__file__).parents[2] / "examples").rglob("*.yaml"))
    if "\nkind: SpecDecodeDeployment\n" in path.read_text()  # beside them stand resources of Argo CD and Flux
]


def example(path: Path, release: str) -> SpecDecodeDeployment:
    documents = yaml.safe_load_all(path.read_text())
    body = next(each for each in documents if each["kind"] == "SpecDecodeDeployment")
    body["spec"]["engine"]["image"] = f"vllm/vllm-openai:v{release}"
    body["spec"]["engine"].pop("version", None)
    found = parse(body)
    assert not isinstance(found, Rejection), str(found)
    return found


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_starts_in_every_mode(path: Path, engine: Asked, models: Path) -> None:
    for line in command_lines(example(path, engine.release), models):
        answer = engine.configure(line.local)
        assert isinstance(answer, Accepted), f"{line.mode}: {answer}"
        wanted = expected(line.arguments)
        if line.has_latent_attention and not answer.understood["enable_chunked_prefill"]:
            # vLLM takes the prompts of such models whole on a CPU without AMX, which no GPU is.
            wanted["max_num_batched_tokens"] = max(wanted["max_num_batched_tokens"], wanted["max_model_len"])
        assert {name: answer.understood[name] for name in wanted} == wanted, line.mode
