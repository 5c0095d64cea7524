"""The command line of `daxmap serve`."""

import argparse
import os
from pathlib import Path

from daxmap.checks import check_int
from daxmap.cli.parser import Commands

__all__ = ["add"]

_LONGEST_TAG = 36  # bytes: VIRTIO 1.3, file system device, "Device configuration layout"


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
    add("--socket", type=Path, required=True, metavar="PATH", help="where the device is found; made by the command")
    add("--tag", default="daxmap", help="what the guest mounts it by, 1 to 36 bytes; default: daxmap")
    add(
        "--window",
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
    add("--threads", type=int, default=1, metavar="N", help="request queues, each with a thread: 1 to 63; default: 1")
    add("--once", action="store_true", help="end when the first front end has left")
    add("--json", action="store_true", help="print the status as one JSON object a line, and nothing else to stdout")
    add("--no-confinement", action="store_true", help="keep rights that are not needed: for debugging")
    parser.set_defaults(run=_serve)


def _serve(arguments: argparse.Namespace) -> int:
    from daxmap.serve import Share, fail, serve, window_size

    try:
        window = window_size(arguments.window)
        check_int("--threads", arguments.threads, low=1, high=63)
    except ValueError as error:
        return fail(error)
    if not 1 <= len(os.fsencode(arguments.tag)) <= _LONGEST_TAG:
        return fail(ValueError(f'--tag: "{arguments.tag}" has not 1 to {_LONGEST_TAG} bytes'))
    if not arguments.socket.name:
        return fail(ValueError(f'--socket: "{arguments.socket}" names no file'))
    share = Share(
        directory=arguments.directory,
        socket=arguments.socket,
        tag=arguments.tag,
        window=window,
        dax=arguments.dax,
        readonly=arguments.readonly,
        owner=arguments.owner,
        cache=arguments.cache,
        threads=arguments.threads,
        confined=not arguments.no_confinement,
    )
    return serve(share, once=arguments.once, as_json=arguments.json)
