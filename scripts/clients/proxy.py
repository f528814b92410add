"""The way of a client that knows the public seeds alone into a local network: python proxy.py DOOR

An HTTP proxy, whose port it prints. What is asked of a seed by plain HTTP it asks of the door; into all else of this
machine it opens tunnels, and nowhere else: nothing leaves it.
"""

import ipaddress
import ssl
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_WR, create_connection

DOOR = sys.argv[1]
# Doors sign their own certificates, as storage servers do, and clients do not check them.
UNCHECKED = ssl._create_unverified_context()


def pour(source, sink):
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(SHUT_WR)
    except OSError:
        pass


class Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        if not self.path.endswith(".getsession.org/json_rpc"):
            return self.send_error(403)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with urllib.request.urlopen(f"{DOOR}/json_rpc", body, timeout=10, context=UNCHECKED) as answer:
            told = answer.read()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def do_CONNECT(self):
        host, port = self.path.rsplit(":", 1)
        if not ipaddress.ip_address(host).is_loopback:
            return self.send_error(403)
        with create_connection((host, int(port)), timeout=10) as door:
            door.settimeout(None)
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=pour, args=(door, self.connection))
            back.start()
            pour(self.connection, door)
            back.join()
        self.close_connection = True

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
server.daemon_threads = True
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
