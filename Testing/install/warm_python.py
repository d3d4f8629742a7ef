"""A Python that is warm: programs run in forks of a process that has already imported what is slow to import.

    python warm_python.py SOCKET MODULE ...     the server: import the modules, then fork for each client
    python warm_python.py --run SOCKET ARG ...  the client: like ``python ARG ...``, with its own standard streams

The install test starts the modules about a hundred times; with cold interpreters that would take ten minutes. Nothing
of MAEMC is ever imported in the server, so each program finds the files that are there when it starts.
"""

import array
import json
import os
import runpy
import socket
import sys
import traceback


def run(address: str, arguments: list) -> int:
    """Client: run ``python arguments`` in a fork of the server; returns its exit code, 70 where it crashed."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        order = json.dumps({"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}).encode()
        streams = array.array("i", [0, 1, 2])
        connection.sendmsg([len(order).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
        connection.sendall(order)
        answer = connection.recv(1)
    return answer[0] if answer else 70


def serve(address: str, modules: list) -> None:
    """Server: import modules, listen, fork. Ends when its standard input does."""
    import importlib
    import select
    import signal

    for name in modules:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks: their clients hear of their end
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while sys.stdin not in select.select([sys.stdin, listener], [], [])[0]:
            _accept(listener)


def _accept(listener: socket.socket) -> None:
    """Fork for one client. The fork never returns."""
    connection, _ = listener.accept()
    with connection:
        if os.fork():
            return
        listener.close()
        code = 1
        try:
            code = _program(connection)
        except BaseException:
            traceback.print_exc()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        connection.sendall(bytes([code & 0xFF]))
    os._exit(0)


def _program(connection: socket.socket) -> int:
    """Become the program that the client asks for; returns its exit code."""
    import signal

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    space = socket.CMSG_SPACE(3 * array.array("i").itemsize)
    size, ancillary, _flags, _from = connection.recvmsg(8, space)
    streams = array.array("i", ancillary[0][2])
    order = b""
    while len(order) < int.from_bytes(size, "big"):
        order += connection.recv(1 << 16)
    order = json.loads(order)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    sys.path[:0] = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    arguments = order["arguments"]
    try:
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
            sys.path.insert(0, os.path.dirname(os.path.abspath(arguments[0])))
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "--run":
        sys.exit(run(sys.argv[2], sys.argv[3:]))
    serve(sys.argv[1], sys.argv[2:])
