# The products, each from the staged root. Sourced by packaging/build.

# Fills in what a script or a control file leaves open.
fill() {
    sed -e "s/@VERSION@/$version/g" -e "s/@ARCH@/$arch/g" -e "s/@LEVEL@/$level/g" \
        -e "s/@FORMAT@/$(store_format)/g" -e "s/@LIBC@/$(cat "$work/needs")/g" -e "s/@SIZE@/${size:-0}/g" "$1"
}

store_format() { sed -n 's/^pub const VERSION: u32 = \(.*\);/\1/p' "$top/storage-format/src/store.rs"; }

pack() { # a tar of a folder, the same bytes each time
    tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --format=gnu -C "$1" -cf - "${@:2}"
}

deb() {
    local tree=$work/deb name=pierhead_${version}_$arch.deb
    local doc=$tree/usr/share/doc/pierhead size script
    cp -a "$work/staged" "$tree"
    install -d "$tree/DEBIAN" "$tree/usr/share/lintian/overrides"
    install -m 0644 "$here/debian/lintian-overrides" "$tree/usr/share/lintian/overrides/pierhead"
    printf 'pierhead (%s) stable; urgency=medium\n\n  * NEWS.gz beside this file says what changed.\n\n -- %s  %s\n' \
        "$version" "$(sed -n 's/^Maintainer: //p' "$here/debian/control")" "$(date -uRd "@$SOURCE_DATE_EPOCH")" |
        gzip -9nc >"$doc/changelog.gz"
    size=$(du -k --apparent-size -s "$tree" | cut -f1)
    fill "$here/debian/control" >"$tree/DEBIAN/control"
    cp "$here/debian/conffiles" "$tree/DEBIAN/conffiles"
    for script in preinst postinst prerm postrm; do
        fill "$here/debian/$script" >"$tree/DEBIAN/$script"
        chmod 0755 "$tree/DEBIAN/$script"
    done
    ( cd "$tree" && find . -type f ! -path './DEBIAN/*' ! -path './etc/*' -printf '%P\n' | sort | xargs md5sum >DEBIAN/md5sums )
    find "$tree" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group "${xz[@]}" --build "$tree" "$out/$name" >/dev/null
    made+=("$name")
}

tarball() {
    local name=pierhead-$version-linux-$arch tree
    tree=$work/tarball/$name
    mkdir -p "$tree"
    cp -a "$work/staged" "$tree/files"
    fill "$here/tarball/install.sh" >"$tree/install.sh"
    cp "$here/tarball/README" "$tree/README"
    chmod 0755 "$tree/install.sh"
    ( cd "$tree" && find files -type f | sort | xargs sha256sum >SHA256SUMS )
    pack "$work/tarball" "$name" | gzip "-${squeeze}n" >"$out/$name.tar.gz"
    made+=("$name.tar.gz")
}

image() {
    local name=pierhead-$version-image-$arch.tar
    "$here/image" "$work/staged/usr/bin/pierhead" "$version" "$arch" "$work/staged/usr/share/doc/pierhead" "$out/$name"
    made+=("$name")
}
