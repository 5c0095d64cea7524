#!/bin/busybox sh
# The guest's first process: it makes a small system, and hands it to a person (`shell=OPTIONS` on the kernel's command
# line) or to the agent of the checks, on the second serial port.
PATH=/bin
export PATH HOME=/
/bin/busybox mkdir -p /dev /proc /sys /tmp
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
for module in /modules/*.ko; do
  [ ! -e "$module" ] || insmod "$module"
done

options=$(sed -n 's/.*\bshell=\([^ ]*\).*/\1/p' /proc/cmdline)
if [ -z "$options" ]; then
  exec /agent /dev/ttyS1
fi
mkdir /mnt
if mount -t virtiofs -o "$options" share /mnt; then
  echo "The share is mounted at /mnt, with -o $options. Leave with: exit"
  cd /mnt
else
  echo "The share cannot be mounted with -o $options. Leave with: exit"
fi
setsid cttyhack sh
cd /
umount /mnt
poweroff -f
