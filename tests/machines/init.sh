#!/bin/busybox sh
# A machine's first process: it makes a small system, runs the job, says how it ended, and switches off.
export PATH=/usr/local/bin:/usr/bin:/bin HOME=/root LANG=C.UTF-8 NO_COLOR=1 PYTHONDONTWRITEBYTECODE=1
/bin/busybox --install -s /usr/local/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
for folder in /dev/shm /run /tmp; do
  mount -t tmpfs -o mode=1777 tmp $folder
done
ln -s /proc/self/fd /dev/fd
ip link set lo up
for module in /modules/*.ko; do
  [ ! -e "$module" ] || insmod "$module"
done
cd /load
sh job.sh </dev/null
echo "the job has ended with status $?"
poweroff -f
