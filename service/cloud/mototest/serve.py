"""Runs moto's server for Tallystream's tests: one request at a time, and corrected.

Prints its URL as the first line, and ends when its standard input does. The corrections are in the
files before this one, which the caller puts in front of it; the argument "raw" leaves them out.
"""

import io
import os
import sys
import threading

from werkzeug.serving import WSGIRequestHandler, make_server

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)


class OneAtATime:
    """Reads the whole request, then runs moto behind a lock, then lets go of the whole answer.

    Bodies are read and written outside the lock, so that a slow client holds up nobody else.
    """

    def __init__(self, app):
        self.app = app
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        length = environ.get("CONTENT_LENGTH")
        stream = environ["wsgi.input"]
        if length:
            body = stream.read(int(length))
        elif environ.get("wsgi.input_terminated"):
            body = stream.read()
            environ["CONTENT_LENGTH"] = str(len(body))
            environ.pop("HTTP_TRANSFER_ENCODING", None)
        else:
            body = b""
        environ["wsgi.input"] = io.BytesIO(body)
        with self.lock:
            answer = self.app(environ, start_response)
            try:
                return [b"".join(answer)]
            finally:
                if hasattr(answer, "close"):
                    answer.close()


class Handler(MotoRequestHandler):
    """Keeps connections open, which werkzeug's handler never does, and logs nothing."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def send_header(self, keyword, value):
        if keyword.lower() == "connection" and value == "close" and not self.close_connection:
            return
        super().send_header(keyword, value)

    def log(self, *_):
        pass


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
    app = OneAtATime(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Handler)
    server.daemon_threads = True
    threading.Thread(target=end_with_parent, daemon=True).start()
    print(f"http://127.0.0.1:{server.port}", flush=True)
    server.serve_forever()


main()
