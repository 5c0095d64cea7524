"""The machine that a stock Linux guest gets: virtiofs devices whose front end has shared memory regions."""

import os
from collections.abc import Sequence

from emulation.kernels import Kernel


def accelerator() -> str:
    """QEMU's, or ACCEL.

    A 64-bit kernel does not boot under every /dev/kvm. And an emulator with a thread a processor hung now and then at
    boot: one thread runs both processors, by turns.
    """
    return os.environ.get("ACCEL", "tcg,thread=single")


def machine(kernel: Kernel, initramfs: str, sockets: Sequence[str], append: str) -> list[str]:
    """Arguments of a guest with 512 MiB and two processors, or CPUS, and with a virtiofs device behind each socket.

    vhost-user-fs-pci has no window in QEMU 11. The device for tests has one, and is given virtiofs' number (26), its
    two queues and the 40 bytes of its configuration here.
    """
    arguments = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    arguments += ["-run-with", "exit-with-parent=on", "-machine", "q35,memory-backend=ram"]
    arguments += ["-accel", accelerator(), "-cpu", "max,la57=off", "-smp", os.environ.get("CPUS", "2"), "-m", "512"]
    arguments += ["-object", "memory-backend-memfd,id=ram,size=512M,share=on"]
    arguments += ["-kernel", str(kernel.image), "-initrd", initramfs, "-append", f"console=ttyS0 panic=-1 {append}"]
    for number, socket in enumerate(sockets):
        arguments += ["-chardev", f"socket,id=fs{number},path={socket}", "-device"]
        arguments += [f"vhost-user-test-device-pci,chardev=fs{number},virtio-id=26,num_vqs=2,config_size=40"]
    return arguments
