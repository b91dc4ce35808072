"""The file as vLLM gets it: alone, by its name, and in several processes."""

import ast
import os
import subprocess
import sys
from pathlib import Path

from specdecode.meter import FILE, MIDDLEWARE, source

MEASURE = """
import asyncio, json, sys
from specdecode_meter import Meter

async def app(scope, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    spoken = b'{"metrics":{"speculative_decoding":{"num_draft_tokens":4,"num_accepted_draft_tokens":1}}}'
    await send({"type": "http.response.body", "body": spoken})

async def receive():
    return {"type": "http.request", "body": json.dumps({"temperature": 0}).encode()}

async def send(message):
    pass

for _ in range(int(sys.argv[1])):
    asyncio.run(Meter(app)({"type": "http", "path": "/v1/completions"}, receive, send))
assert not [name for name in sys.modules if name.split(".")[0] == "specdecode"]
"""
COLLECT = """
from prometheus_client import CollectorRegistry, generate_latest, multiprocess
registry = CollectorRegistry()
multiprocess.MultiProcessCollector(registry)
print(generate_latest(registry).decode())
"""


def test_it_imports_nothing_that_vllm_does_not_have() -> None:
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(ast.parse(source()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert {name.partition(".")[0] for name in imported} <= {*sys.stdlib_module_names, "prometheus_client"}


def test_it_runs_under_its_own_name_and_several_servers_add_up(tmp_path: Path) -> None:
    """As with `--api-server-count`: each process has its own files, and any of them shows the sum."""
    (tmp_path / FILE).write_text(source())
    files = tmp_path / "files"
    files.mkdir()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "PROMETHEUS_MULTIPROC_DIR": str(files)}
    for requests in ("2", "3"):
        subprocess.run([sys.executable, "-P", "-c", MEASURE, requests], env=environment, check=True, timeout=60)
    collected = subprocess.run(
        [sys.executable, "-P", "-c", COLLECT], env=environment, check=True, timeout=60, capture_output=True, text=True
    ).stdout
    assert 'specdecode:request_acceptance_rate_count{temperature_bucket="0"} 5.0' in collected
    assert 'specdecode:request_acceptance_rate_bucket{le="0.3",temperature_bucket="0"} 5.0' in collected
    assert 'specdecode:meter_requests_total{outcome="measured"} 5.0' in collected


def test_the_argument_names_a_class_of_the_file() -> None:
    module, _, name = MIDDLEWARE.rpartition(".")
    assert f"{module}.py" == FILE
    assert name in {node.name for node in ast.parse(source()).body if isinstance(node, ast.ClassDef)}
