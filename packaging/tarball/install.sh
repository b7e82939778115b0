#!/bin/sh
# Installs Pierhead @VERSION@ where there is no dpkg; see README.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root= start=yes remove=no
while [ $# -gt 0 ]; do
    case "$1" in
        --root) root=${2%/}; start=no; shift 2 ;;
        --no-start) start=no; shift ;;
        --remove) remove=yes; shift ;;
        *) sed -n '3,8p' "$here/README"; exit 2 ;;
    esac
done
say() { echo "pierhead: $*"; }
stop() { echo "pierhead: $*" >&2; exit 1; }

[ -n "$root" ] || [ "$(id -u)" = 0 ] || stop "run this as root, or give --root DIR"
if [ -z "$root" ] && command -v dpkg >/dev/null && dpkg -s pierhead >/dev/null 2>&1; then
    stop "the package pierhead is installed here: use dpkg or apt"
fi
( cd "$here" && sha256sum --quiet -c SHA256SUMS ) || stop "files here are damaged; nothing was installed"
systemd() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

if [ "$remove" = yes ]; then
    if systemd; then systemctl disable --now pierhead-backup.timer pierhead.service pierhead.socket >/dev/null 2>&1 || true; fi
    ( cd "$here/files" && find . -type f ! -path './etc/*' ) | while read -r file; do rm -f "$root/$file"; done
    rmdir "$root/usr/share/pierhead" "$root/usr/share/doc/pierhead/examples" "$root/usr/share/doc/pierhead" 2>/dev/null || true
    if systemd; then systemctl daemon-reload; fi
    say "removed; $root/etc/pierhead and $root/var/lib/pierhead are kept"
    exit 0
fi

# A version that could not read the store does not replace one that wrote it: the server notes its level beside the store.
data=
if [ -r "$root/etc/pierhead/pierhead.toml" ]; then
    data=$(sed -n '/^\[storage\]/,/^\[/s/^data *= *"\(.*\)".*/\1/p' "$root/etc/pierhead/pierhead.toml" | head -n 1)
fi
data=$root${data:-/var/lib/pierhead}
for file in "$root/usr/share/pierhead/store-level" "$data/.store-level"; do
    [ -r "$file" ] && [ "${PIERHEAD_ALLOW_DOWNGRADE:-}" != 1 ] || continue
    found=$(sed -n 's/^\([0-9][0-9]*\)$/\1/p' "$file" | head -n 1)
    if [ -n "$found" ] && [ "$found" -gt @LEVEL@ ]; then
        stop "a later version used the store here (level $found; this one reads up to @LEVEL@). Nothing was installed"
    fi
done

( cd "$here/files" && find . -type f ) | while read -r file; do
    to=$root/${file#./} mode=0644
    case "$file" in
        ./usr/bin/*) mode=0755 ;;
        ./etc/*) if [ -e "$to" ] && ! cmp -s "$here/files/$file" "$to"; then to=$to.new; fi ;;
    esac
    mkdir -p "$(dirname "$to")"
    # A program that runs cannot be written over; it can be replaced.
    install -m "$mode" "$here/files/$file" "$to.part" && mv -f "$to.part" "$to"
done

if [ -z "$root" ]; then
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers pierhead.conf
    elif ! getent passwd pierhead >/dev/null; then
        useradd --system --user-group --home-dir /var/lib/pierhead --no-create-home --shell /usr/sbin/nologin pierhead
    fi
    install -d -o pierhead -g pierhead -m 0750 /var/lib/pierhead
fi
if systemd; then
    systemctl daemon-reload
    if [ "$start" = yes ]; then
        systemctl enable pierhead.service >/dev/null 2>&1
        systemctl restart pierhead.service
    fi
fi
say "@VERSION@ is installed. Next: pierhead init, pierhead trust, pierhead doctor"
