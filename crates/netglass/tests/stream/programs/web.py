"""A server and a client, in two processes."""
import http.client
import http.server
import os
import socketserver
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b"x" * 5000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = False


server = Server(("127.0.0.1", 0), Handler)
if os.fork() == 0:
    for _ in range(3):
        connection = http.client.HTTPConnection(*server.server_address)
        for _ in range(4):
            connection.request("GET", "/")
            assert len(connection.getresponse().read()) == 5000
        connection.close()
    os._exit(0)
threading.Thread(target=server.serve_forever).start()
assert os.wait()[1] == 0
server.shutdown()
server.server_close()
