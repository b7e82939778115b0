# Debians that boot, for packaging/test and packaging/follow: each systemd in a container (systemd-nspawn) with no
# network but a cable to this host. Sourced; the caller has set `work`, a scratch folder on a disk.
#   boot NAME HOSTNAME   unpacks one below $work/NAME and boots it; its address is ${address[NAME]}
#   on NAME COMMAND...   runs a command in it, as root
#   until_true WHAT COMMAND...
# At the end `power_off` takes everything away again.

declare -A leader=() nspawn=() cable=() address=()
subnet=$((RANDOM % 200 + 20))

step() { printf '\n== %s\n' "$*"; }

# The tar that every Debian here is unpacked from, made once; PIERHEAD_TEST_ROOT names one that is there.
test_root=${PIERHEAD_TEST_ROOT:-${XDG_CACHE_HOME:-/var/cache}/pierhead-test-root.tar}

# What has to be here, beside what this file uses; ends with 77, as tests that cannot run do. Where CI says that
# every tool is there, one that is not is a failure.
need() {
    local tool maker=
    if [ ! -e "$test_root" ]; then maker=mmdebstrap; fi
    for tool in "$@" systemd-nspawn nsenter unshare ip pgrep tar dpkg-deb python3 $maker; do
        command -v "$tool" >/dev/null && continue
        echo "SKIPPED packaging/$(basename "$0"): $tool is not installed"
        if [ -n "${PIERHEAD_REQUIRE_CLIENTS:-}" ]; then exit 1; else exit 77; fi
    done
    [ "$(id -u)" = 0 ] || { echo "SKIPPED packaging/$(basename "$0"): needs root"; exit 77; }
}

on() {
    local pid=${leader[$1]:-}
    shift
    [ -n "$pid" ] || return 1
    nsenter -t "$pid" -m -u -i -n -p -- env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb "$@"
}

# Waits for a condition, with a deadline.
until_true() {
    local what=$1 end=$((SECONDS + 180))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || fail "$what: not within 180 seconds"
        read -rt 0.2 _ <> <(:) || true
    done
}

unpack() {
    if [ ! -e "$test_root" ]; then
        mmdebstrap --quiet --aptopt='Acquire::Retries "5"' --variant=minbase --include=systemd,systemd-sysv,dbus bookworm "$test_root.$$"
        mv "$test_root.$$" "$test_root"
    fi
    mkdir "$1"
    tar -C "$1" -xf "$test_root"
    rm -f "$1/etc/resolv.conf"
}

boot() {
    local name=$1 hostname=$2 root=$work/$1 here there
    subnet=$((subnet + 1))
    here=10.199.$subnet.1 there=10.199.$subnet.2
    cable[$name]=ph$((BASHPID % 100000))-$subnet
    [ -d "$root" ] || unpack "$root"
    echo "${hostname%%.*}" >"$root/etc/hostname"
    printf '127.0.0.1 localhost\n%s %s %s\n' "$there" "$hostname" "${hostname%%.*}" >"$root/etc/hosts"
    systemd-nspawn --quiet --directory="$root" --boot --register=no --keep-unit --private-network --resolv-conf=off \
        --network-veth-extra="${cable[$name]}:host0" --hostname="${hostname%%.*}" --console=passive \
        </dev/null >"$work/console.$name" 2>&1 &
    nspawn[$name]=$!
    until_true "the container of $name starts" pgrep -P "${nspawn[$name]}"
    leader[$name]=$(pgrep -P "${nspawn[$name]}" | head -n 1)
    until_true "systemd of $name is up" on "$name" systemctl is-active multi-user.target
    ip addr add "$here/24" dev "${cable[$name]}"
    ip link set "${cable[$name]}" up
    nsenter -t "${leader[$name]}" -n ip addr add "$there/24" dev host0
    nsenter -t "${leader[$name]}" -n ip link set host0 up
    address[$name]=$there
}

power_off() {
    local name
    for name in "${!nspawn[@]}"; do
        if [ -n "${leader[$name]:-}" ]; then kill -KILL "${leader[$name]}" 2>/dev/null || true; fi
        kill "${nspawn[$name]}" 2>/dev/null || true
        wait "${nspawn[$name]}" 2>/dev/null || true
        ip link del "${cable[$name]}" 2>/dev/null || true
    done
}
