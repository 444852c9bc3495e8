"""A reader in another process, which sends batches over a socket, arrays as they lie in memory.

Arrays are neither copied into a pickle nor read from a pipe piece by piece, as
`concurrent.futures` sends results: of a megabyte, that takes most of the time. Shared memory would
save one copy more, but containers allow little of it.
"""

import multiprocessing
import pickle
import signal
import socket
import struct
import traceback
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import PyTree

from etude.data.reader import Reader
from etude.engine.surroundings import Surroundings
from etude.errors import DataError

#: The bytes of a message: how many its numbers, and then its pickle, take.
HEAD = struct.Struct("<QQ")


class ReaderProcess:
    """Reads batches in a process of its own, for one thread at a time.

    The process ends when this object is no longer used.

    Raises `DataError` if the data set cannot be sent there, or the process dies.
    """

    def __init__(self, reader: Reader):
        # Spawned, because a fork of a process that runs JAX may hang. The copy of the reader has
        # nothing cached in it that might not pickle.
        context = multiprocessing.get_context("spawn")
        self._socket, theirs = socket.socketpair()
        weakref.finalize(self, self._socket.close)
        with theirs:  # so that the end of the process ends the connection
            try:
                arguments = theirs, replace(reader)
                context.Process(target=_serve, args=arguments, daemon=True).start()
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                raise DataError(
                    f"The data set cannot be pickled, and so not be sent to processes: {error}. "
                    "Define its class, and `transform`, in a module, or use worker_kind='thread'."
                ) from error

    def read(self, surroundings: Surroundings, indices: np.ndarray) -> PyTree:
        """The batch of the samples `indices`. Raises `DataError` naming a bad sample."""
        try:
            _send(self._socket, (surroundings, indices))
            batch, error = _receive(self._socket)
        except (OSError, EOFError) as error:
            raise DataError(
                "A process that reads the data died. The data set must be picklable and "
                "importable; a script that starts processes needs `if __name__ == '__main__':`. "
                "Or use worker_kind='thread'."
            ) from error
        if error is not None:
            raise error
        return batch


def _serve(connection: socket.socket, reader: Reader) -> None:
    """Reads what is asked for, until nobody is there to ask."""
    # Ctrl-C reaches all processes; the training saves its state and then ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with connection:
        try:
            while True:
                surroundings, indices = _receive(connection)
                _send(connection, _read(reader, surroundings, indices))
        except (OSError, EOFError):
            return


def _read(
    reader: Reader, surroundings: Surroundings, indices: np.ndarray
) -> tuple[PyTree, Exception | None]:
    try:
        with surroundings.entered():
            return reader(indices), None
    except Exception as error:
        error.add_note(f"In the process that reads:\n{traceback.format_exc()}")
        return None, error


def _send(connection: socket.socket, message: Any) -> None:
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    arrays = [buffer.raw() for buffer in buffers]
    sizes = np.array([array.nbytes for array in arrays], np.uint64).tobytes()
    connection.sendall(HEAD.pack(len(sizes), len(body)) + sizes + body)
    for array in arrays:
        connection.sendall(array)


def _receive(connection: socket.socket) -> Any:
    numbers, size = HEAD.unpack(_exactly(connection, HEAD.size))
    sizes = np.frombuffer(_exactly(connection, numbers), np.uint64)
    body = _exactly(connection, size)
    return pickle.loads(body, buffers=[_exactly(connection, int(size)) for size in sizes])


def _exactly(connection: socket.socket, size: int) -> memoryview:
    """So many bytes. Raises EOFError if the other side is gone."""
    found = left = np.empty(size, np.uint8).data  # not a bytearray, which is filled twice
    while left:
        received = connection.recv_into(left)
        if not received:
            raise EOFError
        left = left[received:]
    return found
