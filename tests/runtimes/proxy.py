"""A proxy in front of the simulator, so that a test sees what reached it."""

import http.client
import http.server
import threading

PATIENCE = 60


class Proxy:
    """A proxy in front of the simulator, which counts requests and can hold responses back."""

    def __init__(self, port):
        proxy = self
        self.requests = []
        self.connections = 0
        self.held = None
        self.arrived = threading.Event()
        self.lock = threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                with proxy.lock:
                    proxy.connections += 1
                self.upstream = http.client.HTTPConnection("127.0.0.1", port)

            def finish(self):
                self.upstream.close()
                super().finish()

            def body(self):
                if self.headers.get("transfer-encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("content-length") or 0))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def forward(self):
                body = self.body()
                with proxy.lock:
                    proxy.requests.append(self.command)
                    held = proxy.held
                if held is not None:
                    proxy.arrived.set()
                    held.wait(PATIENCE)
                del self.headers["transfer-encoding"]
                self.upstream.request(self.command, self.path, body or None, dict(self.headers))
                answer = self.upstream.getresponse()
                data = answer.read()
                self.send_response(answer.status)
                for name in ("content-type", "retry-after"):
                    if answer.getheader(name):
                        self.send_header(name, answer.getheader(name))
                if answer.status != 204:
                    self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = forward

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

            def handle_error(self, *_):
                """Ignores disconnected clients, which some tests cause."""

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def port(self):
        return self.server.server_address[1]

    def hold(self):
        self.arrived.clear()
        self.held = threading.Event()
        return self.held

    def close(self):
        if self.held is not None:
            self.held.set()
        self.server.shutdown()
        self.server.server_close()
