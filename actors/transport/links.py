"""Links: the sockets along which the processes of a lane pass the names of frames.

AF_UNIX sockets of type SOCK_SEQPACKET: each message arrives whole or not at all, in order, and the
kernel tells when the other end dies. The names are in Linux' abstract namespace, so they vanish
with the process and nothing has to be swept. Whoever answers there must be of the same user.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

from actors.frames import FrameHandle
from actors.transport.shm import host_ring
from actors.transport.slots import OpenRing, SlotRing
from scheduler.errors import HandleForeign, LinkClosed

_FRAME: Final = struct.Struct("=cqqqq")
_END: Final = struct.Struct("=cq")
_CREDIT: Final = struct.Struct("=cq")
_HELLO: Final = 4096
_DESCRIPTORS: Final = 2
_PEER: Final = struct.Struct("3i")
_PAUSE: Final = 0.02
"""Seconds between two looks for a peer that does not listen yet, or for a cancellation."""


class Link:
    """One end of a connection between two processes of a lane."""

    def __init__(self, connection: socket.socket, name: str, patience: float) -> None:
        connection.settimeout(patience)
        self._socket = connection
        self._name = name
        self._sent = 0

    def send_ring(self, ring: SlotRing[Any], node: str = "") -> None:
        """Hello: what the ring looks like, on which node it is, and what is needed to reach it."""
        about = json.dumps({**ring.hello(), "node": node}).encode()
        try:
            socket.send_fds(self._socket, [about], ring.descriptors())
        except OSError as error:
            raise self._closed(error) from error

    def receive_ring(self, node: str = "", open_ring: OpenRing = host_ring) -> SlotRing[Any]:
        """The first message of a link, as a ring of this process.

        Args:
            node: that this process is on. Handles name memory, so none may come from elsewhere,
                not even where several nodes are emulated on one machine and a link between them
                would work.
            open_ring: makes it of the message; ``cuda_ipc.Arenas.open`` also where it is on a GPU.

        Raises:
            HandleForeign: the ring is on another node, or on a GPU that this process does not
                have; it is not mapped here.
            LinkClosed: the other end went away, was silent too long, or sent something else.
        """
        try:
            about, fds, _, _ = socket.recv_fds(
                self._socket, _HELLO, _DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
            )
        except OSError as error:
            raise self._closed(error) from error
        if not about or not fds:
            raise self._closed("no ring in the first message")
        hello = json.loads(about)
        if hello["node"] != node:
            for fd in fds:
                os.close(fd)
            raise HandleForeign(
                f"frame handles of a ring on node {hello['node'] or 'unnamed'}",
                f"one on node {node or 'unnamed'}, where this process is",
                "report this: all processes of a lane must be on one node",
            )
        return open_ring(hello, fds)

    def send(self, handle: FrameHandle) -> None:
        """Passes a frame on; its slot belongs to the other end from now on."""
        self._send(
            _FRAME.pack(b"f", handle.slot, handle.generation, handle.frame_index, handle.pts)
        )
        self._sent += 1

    def send_end(self) -> None:
        """No more frames will come. Without it, a closed link is an error at the other end."""
        self._send(_END.pack(b"e", self._sent))

    def frames(self) -> Iterator[FrameHandle]:
        """Handles as they come, until the other end has sent them all.

        Raises:
            LinkClosed: the other end went away before its end, or was silent too long.
        """
        received = 0
        while True:
            message = self._receive(_FRAME.size)
            if message[:1] == b"e":
                (_, sent) = _END.unpack(message)
                if sent != received:
                    raise self._closed(f"{received} of {sent} frames arrived")
                return
            _, slot, generation, frame_index, pts = _FRAME.unpack(message)
            received += 1
            yield FrameHandle(slot=slot, generation=generation, frame_index=frame_index, pts=pts)

    def send_credit(self, slot: int) -> None:
        """Gives a slot back to the ring's maker. A maker that has made its last frame and gone
        needs none, so that is no error; one that died shows itself on the frames' own link."""
        try:
            self._socket.send(_CREDIT.pack(b"c", slot))
        except (BrokenPipeError, ConnectionResetError):
            return
        except OSError as error:
            raise self._closed(error) from error

    def credits(self) -> list[int]:
        """The next slot that came back; blocks.

        Raises:
            LinkClosed: the other end went away or was silent too long.
        """
        _, slot = _CREDIT.unpack(self._receive(_CREDIT.size))
        return [slot]

    def cut(self) -> None:
        """Wakes whoever waits at either end with LinkClosed. May be called by any thread."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the other end was faster

    def close(self) -> None:
        self._socket.close()

    def _send(self, message: bytes) -> None:
        try:
            self._socket.send(message)
        except OSError as error:
            raise self._closed(error) from error

    def _receive(self, nbytes: int) -> bytes:
        try:
            message = self._socket.recv(nbytes)
        except OSError as error:
            raise self._closed(error) from error
        if not message:
            raise self._closed("end of stream")
        return message

    def _closed(self, why: object) -> LinkClosed:
        return LinkClosed(
            f"the link {self._name} broke ({why})",
            "both of its processes at work until the last frame",
            "the chunk is tried again on a fresh lane",
        )


class Listener:
    """The end of a link that waits to be called. The name is taken at once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(_address(name))
        self._socket.listen(1)
        self._socket.settimeout(_PAUSE * 5)

    def accept(self, patience: float, cancelled: threading.Event) -> Link:
        """Waits for the producer.

        Raises:
            LinkClosed: nobody called within ``patience`` seconds, or ``cancelled`` was set.
        """
        until = time.monotonic() + patience
        while time.monotonic() < until and not cancelled.is_set():
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            if _same_user(connection):
                return Link(connection, self._name, patience)
            connection.close()
        raise _nobody(self._name, "called")

    def close(self) -> None:
        self._socket.close()


def connect(name: str, patience: float, cancelled: threading.Event) -> Link:
    """Calls a listener, as soon as it is there.

    Raises:
        LinkClosed: nobody listens within ``patience`` seconds, ``cancelled`` was set, or the
            listener belongs to another user.
    """
    until = time.monotonic() + patience
    while time.monotonic() < until and not cancelled.is_set():
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.connect(_address(name))
        except (ConnectionRefusedError, BlockingIOError):
            connection.close()
            cancelled.wait(_PAUSE)
            continue
        if _same_user(connection):
            return Link(connection, name, patience)
        connection.close()
        break
    raise _nobody(name, "listens")


def _address(name: str) -> bytes:
    return b"\0swapfarm/" + name.encode()


def _same_user(connection: socket.socket) -> bool:
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    _, uid, _ = _PEER.unpack(raw)
    return bool(uid == os.getuid())


def _nobody(name: str, verb: str) -> LinkClosed:
    return LinkClosed(
        f"no process of this user {verb} at the link {name}",
        "the neighbouring stage",
        "the chunk is tried again on a fresh lane",
    )
