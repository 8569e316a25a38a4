"""A server that speaks S3, as a process of its own: moto's, behind what can go wrong with one.

`python -m tests.objectstore PORT` serves it. `POST /_faults` with JSON sets what goes wrong from then on.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.waiting import until

BUCKET = "backups"
KEY, SECRET = "AKIDTEST", "s3cret/of+the=store"


class ObjectServer:
    """The server seen from a test."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.objectstore", str(self.port)],
            cwd=Path(__file__).parent.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until(self._answers, 30, what="the object store")
        self.client.create_bucket(Bucket=BUCKET)

    def _answers(self) -> bool:
        try:
            self.faults()
        except OSError:
            return False
        return True

    @property
    def client(self) -> Any:
        """boto3's view of it, as its administrator."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )

    @property
    def env(self) -> dict[str, str]:
        """For a job that backs up there."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }

    def faults(self, **faults: Any) -> None:
        """Sets what goes wrong (nothing, without any), and counts anew.

        `flip`: a bit of the second part; `slow`: seconds a part; `refuse`: so many parts are answered by 503;
        `reads`: so many parts of objects are given, then none; `opaque`: the ETag says nothing; `open`: nobody needs to
        sign, as another cloud would not sign Amazon's way.
        """
        request = urllib.request.Request(f"{self.url}/_faults", json.dumps(faults).encode(), method="POST")
        urllib.request.urlopen(request, timeout=5).close()

    def parts(self) -> int:
        """Parts that have arrived since the last `faults`, whatever becomes of them."""
        return self._counted()["parts"]

    def reads(self) -> int:
        """Requests for parts of objects since then."""
        return self._counted()["reads"]

    def _counted(self) -> dict[str, int]:
        with urllib.request.urlopen(f"{self.url}/_counted", timeout=5) as answer:
            counted: dict[str, int] = json.load(answer)
        return counted

    def keys(self, prefix: str) -> list[str]:
        listed = self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix + "/")
        return [each["Key"].removeprefix(prefix + "/") for each in listed.get("Contents", ())]

    def uploads(self, prefix: str) -> list[str]:
        """What was begun and neither completed nor aborted."""
        listed = self.client.list_multipart_uploads(Bucket=BUCKET, Prefix=prefix)
        return [each["Key"] for each in listed.get("Uploads", ())]

    def body(self, key: str) -> bytes:
        found: bytes = self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return found

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def served() -> Iterator[ObjectServer]:
    server = ObjectServer()
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()


class _Faulty:
    """A WSGI application in front of moto's."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application, self._faults = application, dict[str, Any]()
        self._parts, self._reads, self._mutex = 0, 0, threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path, query = environ["PATH_INFO"], environ.get("QUERY_STRING", "")
        if path in ("/_faults", "/_counted"):
            return self._told(environ, start)
        if self._faults.get("open"):
            scope = f"Credential={KEY}/20260101/us-east-1/s3/aws4_request"
            environ["HTTP_AUTHORIZATION"] = f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0"
        if f"Credential={KEY}/" not in environ.get("HTTP_AUTHORIZATION", ""):
            start("403 Forbidden", [("Content-Type", "application/xml")])
            return [
                b"<Error><Code>InvalidAccessKeyId</Code>"
                b"<Message>The AWS Access Key Id you provided does not exist in our records.</Message></Error>"
            ]
        if environ["REQUEST_METHOD"] == "PUT" and "partNumber=" in query and not self._part(environ, query):
            start("503 Slow Down", [("Content-Type", "application/xml")])
            return [b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"]
        self._reads += environ["REQUEST_METHOD"] == "GET" and "HTTP_RANGE" in environ
        if self._reads > self._faults.get("reads", self._reads):
            start("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"]
        answer = self._application(environ, start)
        if self._faults.get("opaque") and environ["REQUEST_METHOD"] == "POST" and "uploadId=" in query:
            return [re.sub(rb"[0-9a-f]{32}-", lambda found: b"0" * 32 + b"-", b"".join(answer))]
        return answer

    def _told(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        answer = json.dumps({"parts": self._parts, "reads": self._reads}).encode()
        if environ["REQUEST_METHOD"] == "POST":
            self._faults = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            self._parts = self._reads = 0
        start("200 OK", [("Content-Type", "application/json")])
        return [answer]

    def _part(self, environ: dict[str, Any], query: str) -> bool:
        """What happens to one part; false if it is refused."""
        body = bytearray(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        with self._mutex:
            self._parts += 1
            if self._faults.get("refuse", 0) > 0:
                self._faults["refuse"] -= 1
                return False
        time.sleep(self._faults.get("slow", 0))
        if self._faults.get("flip") and "partNumber=2&" in query + "&":
            body[len(body) // 2] ^= 0x10
        environ["wsgi.input"] = io.BytesIO(body)
        return True


def _serve(port: int) -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", port, _Faulty(DomainDispatcherApplication(create_backend_app)), threaded=True)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
