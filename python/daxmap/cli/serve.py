"""The command line of `daxmap serve`."""

import argparse
import os
from pathlib import Path

from daxmap.cli.parser import Commands
from daxmap.cli.values import refused, size, whole_number

__all__ = ["add"]

# What a guest can use: a Linux guest maps 2 MiB at a time, and spends 1/64 of the window's size on it in RAM.
_LEAST_WINDOW, _LARGEST_WINDOW = 2 << 20, 1 << 40


def add(commands: Commands) -> None:
    """Add the command `serve`."""
    parser = commands.add_parser(
        "serve",
        help="share a directory with a guest of QEMU or crosvm, with DAX",
        description=(
            "Serves a directory as a virtiofs device with DAX, over vhost-user: to QEMU 11.1 or later, and to crosvm."
            " Prints the arguments to give to them. SIGUSR1 prints whether the guest uses DAX, and so does the end,"
            " which SIGINT or SIGTERM bring."
        ),
        epilog="Exit code: 0 after a signal, or with --once when the front end has left; 2 if nothing can be served.",
    )
    add = parser.add_argument
    add("directory", type=Path, metavar="DIR", help="what the guest sees as the root of its mount")
    add("--socket", type=_socket, required=True, metavar="PATH", help="where the device is found; made by the command")
    add("--tag", type=_tag, default="daxmap", help="what the guest mounts it by, 1 to 36 bytes; default: daxmap")
    add(
        "--window",
        type=_window,
        default="256MiB",
        metavar="SIZE",
        help="size of the DAX window: a power of two, 2MiB to 1TiB. A guest spends 1/64 of it in RAM; default: 256MiB",
    )
    add(
        "--dax",
        choices=("always", "inode", "never"),
        default="always",
        help="which files the guest is to map: all, those that are marked, none (and no window); default: always",
    )
    add(
        "--min-size",
        type=size,
        metavar="SIZE",
        help="with --dax inode: files of fewer bytes are not marked; default: 2MiB",
    )
    add("--readonly", action="store_true", help="refuse whatever would change a file")
    add(
        "--owner",
        choices=("guest", "host"),
        default="guest" if os.geteuid() == 0 else "host",
        help="whose the files are that the guest makes: its users', or this process's; default: its users' for root",
    )
    add(
        "--cache",
        choices=("auto", "always", "never"),
        default="auto",
        help="what the guest may keep in mind of names and attributes: for a second, a day, not at all; default: auto",
    )
    add(
        "--threads",
        type=whole_number(1, 63),
        default=1,
        metavar="N",
        help="request queues, each with a thread: 1 to 63; default: 1",
    )
    add("--once", action="store_true", help="end when the first front end has left")
    add("--json", action="store_true", help="print the status as one JSON object a line, and nothing else to stdout")
    add("--no-confinement", action="store_true", help="keep rights that are not needed: for debugging")
    parser.set_defaults(run=_serve)


def _serve(arguments: argparse.Namespace) -> int:
    from daxmap.config import min_size_in_bytes
    from daxmap.serve import Share, serve

    if arguments.min_size is not None and arguments.dax != "inode":
        arguments.parser.error("--min-size: it chooses among files, which takes --dax inode")
    share = Share(
        directory=arguments.directory,
        socket=arguments.socket,
        tag=arguments.tag,
        window=arguments.window,
        dax=arguments.dax,
        min_size=min_size_in_bytes(arguments.dax, arguments.min_size),
        readonly=arguments.readonly,
        owner=arguments.owner,
        cache=arguments.cache,
        threads=arguments.threads,
        confined=not arguments.no_confinement,
    )
    return serve(share, once=arguments.once, as_json=arguments.json)


def _socket(text: str) -> Path:
    path = Path(text)
    if not path.name:
        raise argparse.ArgumentTypeError(f"{text!r} names no file")
    return path


def _tag(text: str) -> str:
    from daxmap.config import check_tag

    with refused("tag"):
        check_tag(text)
    return text


def _window(text: str) -> int:
    window = size(text)
    if not _LEAST_WINDOW <= window <= _LARGEST_WINDOW or window & (window - 1):
        raise argparse.ArgumentTypeError(f"{text} is no power of two from 2MiB to 1TiB")
    return window
