"""Take the path of the checkout out of the wheels' bills of materials (SBOM), which maturin writes.

    python scripts/release/sbom.py dist/*.whl

A wheel says nothing of the machine that built it.
"""

import base64
import hashlib
import re
import sys
import zipfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def record_line(name: str, content: bytes) -> str:
    """What RECORD says of a file, by the specification of binary distributions."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}"


def rewrite(path: Path) -> None:
    """Change the SBOM, and what RECORD says of it. The path is part of names, which stay different from each other."""
    with zipfile.ZipFile(path) as wheel:
        members = {member: wheel.read(member) for member in wheel.infolist()}
    [sbom] = (member for member in members if re.search(r"/sboms/[^/]+\.json$", member.filename))
    [record] = (member for member in members if member.filename.endswith(".dist-info/RECORD"))
    members[sbom] = members[sbom].replace(f"file://{PROJECT}/".encode(), b"file:///daxmap/")
    lines = [
        record_line(sbom.filename, members[sbom]) if line.startswith(f"{sbom.filename},") else line
        for line in members[record].decode().splitlines()
    ]
    members[record] = "".join(f"{line}\n" for line in lines).encode()
    with zipfile.ZipFile(path, "w") as wheel:
        for member, content in members.items():
            wheel.writestr(member, content)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        rewrite(Path(argument))
