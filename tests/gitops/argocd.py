"""Argo CD's side of a resource customization: its Lua 5.1 sandbox, and what it does with what a script returns.

The sandbox is that of scripts from argocd-cm, the stricter one: the libraries package, base and table, and `date` and
`time` of os, which only `require("os")` finds. No string, no math, no global os. A script that runs here also runs as a
built-in one, which has everything.
"""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import lupa.lua51
import yaml

CUSTOMIZATION = (
    Path(__file__).parents[2] / "charts" / "specdecode-operator" / "argocd" / "specdecode.io" / "SpecDecodeDeployment"
)
ACTIONS = sorted(path.parent.name for path in CUSTOMIZATION.glob("actions/*/action.lua"))
KEY = "_".join(CUSTOMIZATION.parts[-2:])
"""Group and kind as the keys of argocd-cm name them."""
HEALTHS = ("Healthy", "Progressing", "Suspended", "Degraded", "Missing", "Unknown")

_BASE = (
    *("assert", "collectgarbage", "dofile", "error", "getfenv", "getmetatable", "ipairs", "load", "loadfile"),
    *("loadstring", "module", "newproxy", "next", "package", "pairs", "pcall", "print", "rawequal", "rawget", "rawset"),
    *("require", "select", "setfenv", "setmetatable", "table", "tonumber", "tostring", "type", "unpack", "xpcall"),
    *("_G", "_VERSION"),
)
_CLOSE = """
function(allowed)
  local date, time = os.date, os.time
  debug.setmetatable("", nil)
  debug.sethook(function() error("the script does not end") end, "", 1000000)
  for name in pairs(_G) do
    if not allowed[name] then _G[name] = nil end
  end
  for name in pairs(package.loaded) do package.loaded[name] = nil end
  package.loaders = {package.loaders[1]}
  package.preload["os"] = function() return {date = date, time = time} end
  table.date, table.time = date, time
end
"""


def script(*path: str) -> str:
    """Text of one of the customization's scripts."""
    return CUSTOMIZATION.joinpath(*path).read_text(encoding="utf-8")


def _table(lua: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        return lua.table_from({key: _table(lua, child) for key, child in value.items() if child is not None})
    if isinstance(value, list):
        return lua.table_from([_table(lua, item) for item in value])
    return value


def _value(found: Any) -> Any:
    """As its encoder writes it: a table without keys is an empty array, whatever it was."""
    if lupa.lua51.lua_type(found) != "table":
        return found
    keys = list(found.keys())
    if not keys or isinstance(keys[0], int):
        return [_value(found[key]) for key in sorted(keys)]
    return {key: _value(found[key]) for key in keys}


def run(text: str, body: Mapping[str, Any]) -> Any:
    """What a script returns for a resource. Raises LuaError where Argo CD would show an error."""
    lua = lupa.lua51.LuaRuntime(register_eval=False, register_builtins=False, unpack_returned_tuples=True)
    lua.eval(_CLOSE)(_table(lua, dict.fromkeys(_BASE, True)))
    lua.globals()["obj"] = _table(lua, body)
    return _value(lua.execute(text))


def _cleaned(new: Any, old: Any) -> Any:
    """An empty array where a map was is taken for an accident of the encoder, and the old map stays."""
    if isinstance(new, dict) and isinstance(old, Mapping):
        return {key: _cleaned(value, old[key]) if key in old else value for key, value in new.items()}
    if new == [] and isinstance(old, Mapping):
        return deepcopy(dict(old))
    if isinstance(new, list) and isinstance(old, list):
        return [_cleaned(item, old[index]) if index < len(old) else item for index, item in enumerate(new)]
    return new


def merge_patch(old: Any, new: Any) -> dict[str, Any]:
    """The JSON merge patch (RFC 7396) from one object to another: what is sent to the API server."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(old.get(key), Mapping):
            if inner := merge_patch(old[key], value):
                patch[key] = inner
        elif key not in old or old[key] != value:
            patch[key] = value
    return patch


def health(body: Mapping[str, Any], text: str | None = None) -> tuple[str, str]:
    """Health and message of a resource. One that is being deleted never reaches the script."""
    if body["metadata"].get("deletionTimestamp"):
        return "Progressing", "Pending deletion"
    answer = run(script("health.lua") if text is None else text, body)
    assert answer["status"] in HEALTHS, "Argo CD would call it Unknown"
    return answer["status"], answer["message"]


def offered(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The actions as the user interface lists them, those that cannot be clicked included, by name."""
    found = run(script("actions", "discovery.lua"), body)
    return [{"name": name, **found[name]} for name in sorted(found)]


def enabled(body: Mapping[str, Any]) -> list[str]:
    """The actions that can be clicked."""
    return [action["name"] for action in offered(body) if not action["disabled"]]


def act(action: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The resource after an action, before it is sent."""
    cleaned = _cleaned(run(script("actions", action, "action.lua"), body), body)
    assert isinstance(cleaned, dict)
    return cleaned


def patch_of(action: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """What the API server gets when a person clicks an action."""
    return merge_patch(body, act(action, body))


def load(name: str) -> Any:
    """A YAML file of the customization."""
    return yaml.safe_load(script(*name.split("/")))
