"""A kubeconfig that leads through the proxy.

Between client and proxy there is plain HTTP on the loopback device. Tokens go along with each request; a client
certificate cannot, so the proxy shows it upstream itself.
"""

import base64
import ssl
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml


def redirect(original: Path, to: Path, url: str) -> dict[str, Any]:
    """Write `to` with another server; returns the user's credentials of the original."""
    config: dict[str, Any] = yaml.safe_load(original.read_text())
    for each in config["clusters"]:
        each["cluster"] = {"server": url}
    user: dict[str, Any] = config["users"][0]["user"]
    kept = {"token": user["token"]} if "token" in user else {}
    config["users"][0]["user"] = kept
    to.write_text(yaml.safe_dump(config))
    to.chmod(0o600)
    return user


def show_certificate(context: ssl.SSLContext, user: dict[str, Any]) -> None:
    """Let the context show the client certificate of a kubeconfig, if it has one."""
    if "client-certificate-data" not in user:
        return
    with TemporaryDirectory() as folder:
        crt, key = Path(folder) / "crt", Path(folder) / "key"
        for file, field in ((crt, "client-certificate-data"), (key, "client-key-data")):
            file.touch(0o600)
            file.write_bytes(base64.b64decode(user[field]))
        context.load_cert_chain(crt, key)
