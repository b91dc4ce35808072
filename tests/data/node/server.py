"""A stand-in for an engine: answers on port 8000 of its pod's address and says in its log what happens to it.

`GET /<status>` sets what `/health` answers from then on; `GET /exit/<code>` ends it.
"""

import argparse
import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def _say(event: str, **more: Any) -> None:
    sys.stdout.write(json.dumps({"event": event, "at": time.time()} | more) + "\n")
    sys.stdout.flush()


class _Handler(BaseHTTPRequestHandler):
    health = 200

    def do_GET(self) -> None:
        word = self.path.strip("/")
        if word.startswith("exit/"):
            _say("exits")
            os._exit(int(word.removeprefix("exit/")))
        if word.isdigit():
            _Handler.health = int(word)
        self.send_response(_Handler.health if word == "health" else 200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def _leave(*_: Any) -> None:
    _say("sigterm")
    sys.exit(0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fail", type=int, help="print last words and exit with this code")
    parser.add_argument("--start-seconds", type=float, default=0.0)
    parser.add_argument("--ignore-sigterm", action="store_true")
    arguments = parser.parse_args()
    _say("starts", arguments=sys.argv[1:], environment=dict(os.environ))
    signal.signal(signal.SIGTERM, signal.SIG_IGN if arguments.ignore_sigterm else _leave)
    if arguments.fail is not None:
        sys.stderr.write("Traceback\nRuntimeError: the draft has another vocabulary\n")
        sys.exit(arguments.fail)
    time.sleep(arguments.start_seconds)
    ThreadingHTTPServer((os.environ["REHEARSAL_POD_IP"], 8000), _Handler).serve_forever()


if __name__ == "__main__":
    main()
