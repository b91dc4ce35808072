"""What a command line of ours may look like, and what each argument of it says to the engine's parser."""

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NoReturn

from specdecode.engine.parser import Takes, known_arguments, speculative_keys
from specdecode.engine.version import EngineVersion

_ARGUMENT = re.compile(r"--[a-z][a-z0-9]*(-[a-z0-9]+)*(=[ -~]+)?")
_PLAIN_VALUE = re.compile(r"-?[A-Za-z0-9/.][A-Za-z0-9._:/,=+@\-]*|\[ngram\]")
_JSON = "speculative-config"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


class _Once(argparse.Action):
    def __call__(self, _parser: Any, namespace: argparse.Namespace, values: Any, _option: Any = None) -> None:
        if hasattr(namespace, self.dest):
            raise argparse.ArgumentError(self, "given twice")
        setattr(namespace, self.dest, True if values == [] else values)


@cache
def _parser(version: EngineVersion) -> _Parser:
    """Of one release: prefixes are completed, as vLLM's parser does."""
    parser = _Parser(prog="vllm", add_help=False, argument_default=argparse.SUPPRESS, exit_on_error=False)
    for name, known in known_arguments(version).items():
        nargs = {Takes.NONE: 0, Takes.OPTIONAL: "?", Takes.ONE: None}[known.takes]
        parser.add_argument(f"--{name}", dest=name, action=_Once, nargs=nargs, choices=known.choices or None)
    return parser


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys)), f"a key twice: {keys}"
    return dict(pairs)


def _check_shape(argument: str) -> None:
    assert _ARGUMENT.fullmatch(argument), f"no argument: {argument!r}"
    name, _, value = argument.removeprefix("--").partition("=")
    if value and name != _JSON:
        assert _PLAIN_VALUE.fullmatch(value), f"no plain value: {argument!r}"
    assert "$(" not in argument, f"the kubelet would expand {argument!r}"


def read_arguments(version: str, arguments: Sequence[str]) -> Mapping[str, Any]:
    """What the release's parser makes of a command line, by name; `--speculative-config` as the object in it.

    Fails for what is not one argument per item, not known to the release, or given twice.
    """
    release = EngineVersion.parse(version)
    for argument in arguments:
        _check_shape(argument)
    found = vars(_parser(release).parse_args(list(arguments)))
    assert len(found) == len(arguments), f"{len(arguments)} items are {len(found)} arguments"
    if _JSON in found:
        config = json.loads(found[_JSON], object_pairs_hook=_no_duplicates)
        assert set(config) <= speculative_keys(release), set(config) - speculative_keys(release)
        found[_JSON] = config
    return found
