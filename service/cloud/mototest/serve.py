"""Runs moto's server for Tallystream's tests: one request at a time, and corrected.

Prints its URL as the first line, and ends when its standard input does. The corrections are in the
files before this one, which the caller puts in front of it; the argument "raw" leaves them out.
"""

import io
import json
import os
import sys
import threading
import traceback

from werkzeug.serving import make_server

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)


one_at_a_time = threading.Lock()


class Handler(MotoRequestHandler):
    """Runs moto for one request at a time, over connections that stay open.

    werkzeug's own handler closes each connection after its answer. Requests are read and answers
    written outside the lock, so that a slow client holds up nobody else.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16  # an answer goes out as one packet

    def run_wsgi(self):
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.wfile.flush()
        environ = self.make_environ()
        environ["wsgi.input"] = io.BytesIO(self.read_body(environ))
        started = []

        def start_response(status, headers, exc_info=None):
            started[:] = [status, headers]

        try:
            with one_at_a_time:
                body = b"".join(self.server.app(environ, start_response))
        except Exception:  # a fault of moto's, which its caller is told as AWS tells its own
            traceback.print_exc()
            reason = traceback.format_exc().strip().splitlines()[-1]
            started[:] = ["500 INTERNAL SERVER ERROR", [("Content-Type", "application/x-amz-json-1.1")]]
            body = json.dumps({"__type": "InternalFailure", "message": f"moto: {reason}"}).encode()
        self.write_answer(*started, body)

    def read_body(self, environ):
        stream = environ["wsgi.input"]
        if environ.get("wsgi.input_terminated"):  # chunked
            body = stream.read()
            environ["CONTENT_LENGTH"] = str(len(body))
            environ.pop("HTTP_TRANSFER_ENCODING", None)
            return body
        return stream.read(int(environ.get("CONTENT_LENGTH") or 0))

    def write_answer(self, status, headers, body):
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        names = set()
        for name, value in headers:
            names.add(name.lower())
            self.send_header(name, value)
        if "content-length" not in names and int(code) not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def log(self, *_):
        """Logs nothing: a test's output is for its own failures."""


def end_with_parent():
    """Ends the process when its standard input closes: whoever started it is gone."""
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


def main():
    if "raw" not in sys.argv[1:]:
        correct_kinesis()
        correct_dynamodb()
        correct_kms()
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Handler)
    server.daemon_threads = True
    threading.Thread(target=end_with_parent, daemon=True).start()
    print(f"http://127.0.0.1:{server.port}", flush=True)
    server.serve_forever()


main()
