"""The machines that there are."""

from dataclasses import dataclass

from debian_packages.apt import STABLE


@dataclass(frozen=True)
class Kind:
    """A machine to emulate, and what fits it."""

    name: str
    qemu: str
    """Its processor, in QEMU's words."""
    machine: str
    cpu: str
    console: str
    """Where the kernel and the job write."""
    architecture: str
    """In Debian's words."""
    kernel: str
    """Debian's package."""
    release: str
    """Debian's, of all packages."""
    python: str
    """That release's."""
    drivers: tuple[str, ...]
    """Those that are needed and are modules, perhaps."""
    wheel: str
    """What `make wheels` calls its platform."""
    wheel_tags: tuple[str, ...]
    """Platforms of the wheels of others that run on it."""
    append: str = ""
    """To the kernel's command line."""
    has_linux_guest: bool = False
    """Whether what boots stock Linux guests lies there."""
    without: frozenset[str] = frozenset()
    """Python packages that have no wheels for it."""


def _glibc(machine: str) -> tuple[str, ...]:
    return tuple(f"manylinux{glibc}_{machine}" for glibc in ("2014", "_2_17", "_2_28", "_2_34"))


KINDS = {
    kind.name: kind
    for kind in (
        # The emulated processor has SVM and nested paging, so KVM runs on it as on a real one.
        Kind(
            name="real-kvm",
            qemu="x86_64",
            machine="q35",
            cpu="max,la57=off",
            console="ttyS0",
            append="mitigations=off nokaslr",
            architecture="amd64",
            kernel="linux-image-amd64",
            release=STABLE,
            python="3.13",
            drivers=("kvm_amd",),
            wheel="manylinux-x86_64",
            wheel_tags=_glibc("x86_64"),
            has_linux_guest=True,
        ),
        # Pages of 16 KiB; KVM at EL2 is built in.
        Kind(
            name="arm64",
            qemu="aarch64",
            machine="virt,virtualization=on,gic-version=3",
            cpu="cortex-a76",
            console="ttyAMA0",
            architecture="arm64",
            kernel="linux-image-arm64-16k",
            release=STABLE,
            python="3.13",
            drivers=(),
            wheel="manylinux-aarch64",
            wheel_tags=_glibc("aarch64"),
        ),
        # Pages of 64 KiB, which Debian's later kernels for this processor don't have.
        Kind(
            name="ppc64le",
            qemu="ppc64",
            machine="pseries,x-vof=on",
            cpu="power9",
            console="hvc0",
            architecture="ppc64el",
            kernel="linux-image-powerpc64le",
            release="bookworm",
            python="3.11",
            drivers=(),
            wheel="manylinux-ppc64le",
            wheel_tags=_glibc("ppc64le"),
            without=frozenset({"unicorn", "cffi"}),
        ),
    )
}
