#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# The first program of an emulated machine. The host's file system, read-only, below a layer in
# memory, is its root; serve.py there does what the test says. vm.* are words of the kernel's
# command line.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for word in $(cat /proc/cmdline); do
  case $word in vm.number=*) number=${word#*=} ;; vm.serve=*) serve=${word#*=} ;; esac
done
fail() {
  echo "init: $1" >/dev/console
  poweroff -f
}
modprobe -a virtio_pci virtio_net virtio_console 9pnet_virtio 9p overlay || fail "modprobe"
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000 host /host || fail "9p"
mount -t tmpfs layer /new
mkdir /new/upper /new/work /new/root
mount -t overlay -o lowerdir=/host,upperdir=/new/upper,workdir=/new/work root /new/root ||
  fail "overlay"
cd /new/root || fail "root"
for folder in proc sys dev; do mount --move /$folder $folder; done
for folder in run dev/shm dev/pts lib/modules; do mkdir -p $folder; done
mount -t tmpfs run run
mkdir -p dev/shm dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t devpts -o ptmxmode=666 pts dev/pts
mount -t cgroup2 cgroup sys/fs/cgroup 2>/dev/null
# The kernel's own modules, for tests that load more of them.
cp -a /lib/modules/. lib/modules/
ip link set lo up
ip link set eth0 up
ip address add 10.0.0.$((number + 1))/24 dev eth0
hostname vm$number
# The driver makes the port when the host has told of it.
port=$(echo dev/vport*p1)
while [ ! -e "$port" ]; do
  usleep 20000
  port=$(echo dev/vport*p1)
done
chroot . /usr/bin/python3 -B "$serve" "/$port"
poweroff -f
