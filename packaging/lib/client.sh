# A client's host, for packaging/test and packaging/follow: this machine with its clients, in a mount and a process
# namespace of its own. What is written there (/etc/docker, /etc/containers, /etc/hosts, ...) goes into an overlay
# in memory and leaves nothing behind. Sourced after debian.sh; the caller has set `work`.
#   start_client [LINE...]  brings it up as "client", with these lines in its /etc/hosts, and docker's and
#                           containerd's daemons where they are installed
#   client COMMAND...       runs a command in it
# `stop_client` ends it and all that runs in it.

client_outer=

start_client() {
    mkdir -p "$work"/client/{over,root,stores/docker,stores/containerd,stores/containers}
    printf '%s\n' "127.0.0.1 localhost" "$@" >"$work/client/hosts"
    unshare --mount --pid --fork --kill-child --propagation private bash -s "$work/client" <<'INSIDE' >"$work/client/log" 2>&1 &
set -euo pipefail
here=$1
# An overlay's upper part must not be inside its lower one.
mount -t tmpfs tmpfs "$here/over"
mkdir "$here/over/upper" "$here/over/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$here/over/upper,workdir=$here/over/work" "$here/root"
cd "$here/root"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
# Stores of images want a file system of a disk.
for store in docker containerd containers; do
    mkdir -p "var/lib/$store"
    mount --bind "$here/stores/$store" "var/lib/$store"
done
mkdir -p srv/operator .old
# Before the daemons begin: Go's resolver keeps what it has read for five seconds.
cat "$here/hosts" >etc/hosts
# Not chroot: a docker daemon in one cannot unpack layers.
pivot_root . .old
cd /
umount -l /.old
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/srv/operator
rm -rf /etc/docker /etc/containerd
mkdir -p /etc/docker /etc/containerd /run/lock
if command -v containerd >/dev/null; then
    echo 'version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri"]' >/etc/containerd/config.toml
    containerd >/tmp/containerd.log 2>&1 &
fi
if command -v dockerd >/dev/null; then
    for _ in $(seq 300); do [ ! -S /run/containerd/containerd.sock ] || break; read -rt 0.1 _ <> <(:) || true; done
    dockerd --iptables=false --ip6tables=false --bridge=none --storage-driver=vfs \
        --exec-opt native.cgroupdriver=cgroupfs >/tmp/dockerd.log 2>&1 &
fi
touch /run/ready
wait
exec tail -f /dev/null
INSIDE
    client_outer=$!
    until_true "the client's host" pgrep -P "$client_outer"
    leader[client]=$(pgrep -P "$client_outer" | head -n 1)
    until_true "the client's host ($(tail -n 1 "$work/client/log"))" client test -e /run/ready
    if client sh -c 'command -v dockerd && command -v docker' >/dev/null; then until_true "docker's daemon" client docker version; fi
}

client() {
    nsenter -t "${leader[client]}" -m -p -- env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb HOME=/srv/operator \
        LC_ALL=C.UTF-8 STORAGE_DRIVER=vfs CONTAINERD_SNAPSHOTTER=native "$@"
}

stop_client() {
    if [ -n "$client_outer" ]; then
        kill -KILL "$client_outer" 2>/dev/null || true
        wait "$client_outer" 2>/dev/null || true
    fi
}
