"""A model hub on 127.0.0.1 that serves folders: what `snapshot_download` asks of the real one, and no more."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


class LoopbackHub(ThreadingHTTPServer):
    """Serves `repositories[name][revision]`, each a folder; remembers every request."""

    daemon_threads = True

    def __init__(self, repositories: dict[str, dict[str, Path]]) -> None:
        self.repositories = repositories
        self.requests: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def endpoint(self) -> str:
        """What HF_ENDPOINT has to be."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def downloaded(self) -> set[str]:
        """Names of the files whose content was fetched."""
        return {line.split("/")[-1] for line in self.requests if line.startswith("GET") and "/resolve/" in line}


def commit_of(folder: Path) -> str:
    """A commit hash for a folder's content."""
    digest = hashlib.sha1(usedforsecurity=False)
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


class _Handler(BaseHTTPRequestHandler):
    server: LoopbackHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(f"{self.command} {path}")
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            name, action, revision = "/".join(parts[2:4]), (parts[4:5] or ["revision"])[0], (parts[5:6] or ["main"])[0]
            file = ""
        else:
            name, action, revision, file = "/".join(parts[:2]), parts[2], parts[3], "/".join(parts[4:])
        branches = self.server.repositories.get(name)
        if branches is None:
            return self._refuse("RepoNotFound", "Repository Not Found")
        folder = branches.get(revision) or next((f for f in branches.values() if commit_of(f) == revision), None)
        if folder is None:
            return self._refuse("RevisionNotFound", f"Invalid rev id: {revision}")
        if action == "revision":
            return self._send_json({"id": name, "sha": commit_of(folder), "siblings": []})
        if action == "tree":
            return self._send_json([_tree_entry(path) for path in sorted(folder.iterdir())])
        if not (folder / file).is_file():
            return self._refuse("EntryNotFound", "Entry not found")
        body = (folder / file).read_bytes()
        headers = {"ETag": f'"{_oid(body)}"', "X-Repo-Commit": commit_of(folder), "Accept-Ranges": "bytes"}
        return self._send(200, body, "application/octet-stream", headers)

    def _refuse(self, code: str, message: str) -> None:
        self._send(404, json.dumps({"error": message}).encode(), "application/json", {"X-Error-Code": code})

    def _send_json(self, tree: object) -> None:
        self._send(200, json.dumps(tree).encode(), "application/json", {})

    def _send(self, status: int, body: bytes, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def _oid(body: bytes) -> str:
    return hashlib.sha1(body, usedforsecurity=False).hexdigest()


def _tree_entry(path: Path) -> dict[str, object]:
    body = path.read_bytes()
    return {"type": "file", "path": path.name, "size": len(body), "oid": _oid(body)}


@contextmanager
def loopback_hub(repositories: dict[str, dict[str, Path]]) -> Iterator[LoopbackHub]:
    """Run a hub for the time of a `with` block."""
    hub = LoopbackHub(repositories)
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
