"""What a request is answered with: files of a directory, and listings of those without an ``index.html``.

Rules. A target's path is decoded once, and is then a path of the directory that the server was given: the file system
refuses ``..``, and there is nothing above. GET and HEAD alone are answered. A file is read while it is sent. What
becomes of one that is replaced or removed meanwhile is the file system's matter: ramfs keeps it until it is closed, of
littlefs the client gets less than was announced, and sees that by the length.
"""

from __future__ import annotations

import errno
import html
import mimetypes
import re
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import BinaryIO, Final, Protocol
from urllib.parse import quote, unquote_to_bytes

from libsel4py.interfaces.file import Kind, Stat

INDEX: Final = "index.html"
MOST_LISTED: Final = 10_000
_TYPES: Final = mimetypes.MimeTypes(filenames=())  # the built-in table: a task opens no files of the host
_WHOLE: Final = re.compile(rb"^https?://[^/]*", re.IGNORECASE)
_RANGE: Final = re.compile(rb"bytes=(\d{0,18})-(\d{0,18})")
_ERRORS: Final = {
    errno.ENOENT: HTTPStatus.NOT_FOUND,
    errno.ENOTDIR: HTTPStatus.NOT_FOUND,
    errno.EINVAL: HTTPStatus.NOT_FOUND,  # no path of a file system, such as one with ".."
    errno.ENAMETOOLONG: HTTPStatus.NOT_FOUND,
    errno.EACCES: HTTPStatus.FORBIDDEN,
    errno.EPERM: HTTPStatus.FORBIDDEN,
}


class Tree(Protocol):
    """The files that are served."""

    def stat(self, path: str) -> Stat: ...
    def names(self, path: str) -> list[str]:
        """What is in a directory; a directory's name ends with ``/``."""

    def open(self, path: str) -> BinaryIO: ...


@dataclass(slots=True)
class Response:
    """Status, headers, and a body: bytes, or ``length`` bytes of a file from where it stands; its sender closes it.

    ``length`` without a file is what a whole response would have: of one that says that nothing has changed.
    """

    status: HTTPStatus
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    file: BinaryIO | None = None
    length: int = 0


class BadTarget(Exception):
    """The request's target is no path."""


def answer(tree: Tree, method: bytes, target: bytes, headers: dict[bytes, bytes]) -> Response:
    """The response to a request (header names in lower case). Never raises OSError: that is a response, too."""
    if method not in (b"GET", b"HEAD"):
        response = problem(HTTPStatus.NOT_IMPLEMENTED, "GET and HEAD are what this server answers")
        response.headers.append(("Allow", "GET, HEAD"))
        return response
    try:
        return _found(tree, _path(target), headers, is_get=method == b"GET")
    except BadTarget as error:
        return problem(HTTPStatus.BAD_REQUEST, str(error))
    except OSError as error:
        status = _ERRORS.get(error.errno or 0, HTTPStatus.INTERNAL_SERVER_ERROR)
        return problem(status, "there is no such file here" if status is HTTPStatus.NOT_FOUND else status.phrase)


def problem(status: HTTPStatus, text: str) -> Response:
    """A response that says what is wrong."""
    body = f"{status.value} {status.phrase}: {text}\n".encode()
    return Response(status, [("Content-Type", "text/plain; charset=utf-8")], body)


def _path(target: bytes) -> str:
    path, _, _ = target.partition(b"?")
    path = _WHOLE.sub(b"", path) or b"/"  # a proxy's form of a target, RFC 9112 3.2.2
    if not path.startswith(b"/"):
        raise BadTarget("a target begins with /")
    try:
        return unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        raise BadTarget("a path is UTF-8") from None


def _found(tree: Tree, path: str, headers: dict[bytes, bytes], *, is_get: bool) -> Response:
    known = tree.stat(path.rstrip("/") or "/")
    if known.kind != Kind.DIRECTORY:
        return _file(tree, path, known, headers, is_get=is_get) if not path.endswith("/") else _gone()
    if not path.endswith("/"):  # one slash at its front: what stands behind two of them is a host's name
        return Response(HTTPStatus.MOVED_PERMANENTLY, [("Location", "/" + quote(path.lstrip("/")) + "/")])
    try:
        index = tree.stat(path + INDEX)
    except FileNotFoundError:
        return _listing(path, tree.names(path.rstrip("/") or "/"))
    return _file(tree, path + INDEX, index, headers, is_get=is_get)


def _gone() -> Response:
    return problem(HTTPStatus.NOT_FOUND, "this is a file, and no directory")


def _file(tree: Tree, path: str, known: Stat, headers: dict[bytes, bytes], *, is_get: bool) -> Response:
    told = [("Content-Type", _type(path)), ("Accept-Ranges", "bytes")]
    tag = ""
    if known.modified_ns:
        tag = f'"{known.modified_ns:x}-{known.size:x}"'
        told += [("Last-Modified", formatdate(known.modified_ns // 10**9, usegmt=True)), ("ETag", tag)]
    unless = headers.get(b"if-none-match", b"")
    if unless.strip() == b"*" or (tag and tag.encode() in unless):
        return Response(HTTPStatus.NOT_MODIFIED, told, length=known.size)
    status, start, length = HTTPStatus.OK, 0, known.size
    if (
        is_get  # a range of anything else is none, RFC 9110 14.2
        and (wanted := headers.get(b"range")) is not None
        and (match := _RANGE.fullmatch(wanted))
        and match.group(0) != b"bytes=-"
        and _is_of(headers.get(b"if-range"), tag)
    ):
        start, length = _span(match, known.size)
        if length <= 0:
            response = problem(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, f"the file has {known.size} bytes")
            response.headers.append(("Content-Range", f"bytes */{known.size}"))
            return response
        status = HTTPStatus.PARTIAL_CONTENT
        told.append(("Content-Range", f"bytes {start}-{start + length - 1}/{known.size}"))
    file = tree.open(path)
    file.seek(start)
    return Response(status, told, file=file, length=length)


def _is_of(wanted: bytes | None, tag: str) -> bool:
    """Whether a range may be had alone: it is asked for of any file, or of this very one. A date is no proof of that:
    a file may have changed twice within a second.
    """
    return wanted is None or (bool(tag) and wanted.strip() == tag.encode())


def _span(match: re.Match[bytes], size: int) -> tuple[int, int]:
    """Start and length of a range; a length of 0 or less: there are no such bytes."""
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        return size - length, length
    end = min(int(last) + 1, size) if last else size
    return int(first), end - int(first)


def _listing(path: str, names: list[str]) -> Response:
    shown = "".join(
        f'<li><a href="{quote(name)}">{html.escape(name)}</a></li>\n' for name in sorted(names)[:MOST_LISTED]
    )
    title = html.escape(path)
    up = "" if path == "/" else '<li><a href="../">..</a></li>\n'
    text = f"<!DOCTYPE html>\n<meta charset=utf-8>\n<title>{title}</title>\n<h1>{title}</h1>\n<ul>\n{up}{shown}</ul>\n"
    return Response(HTTPStatus.OK, [("Content-Type", "text/html; charset=utf-8")], text.encode())


def _type(path: str) -> str:
    kind, encoding = _TYPES.guess_type(path)
    if kind is None or encoding is not None:
        return "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
