# What every product holds, laid out below a root. Sourced by packaging/build.

# Builds the binary, without a path of this machine in it.
compile() {
    local crates=${CARGO_HOME:-$HOME/.cargo} maps
    maps="--remap-path-prefix=$top=/usr/src/pierhead --remap-path-prefix=$crates=/usr/src/cargo"
    export RUSTFLAGS="$maps"
    export CFLAGS="-O2 -ffile-prefix-map=$top=/usr/src/pierhead -ffile-prefix-map=$crates=/usr/src/cargo"
    if [ -n "$tools" ]; then
        local upper
        upper=$(printf %s "$triple" | tr a-z- A-Z_)
        export "CARGO_TARGET_${upper}_LINKER=${tools}gcc" "CC_${triple//-/_}=${tools}gcc"
    fi
    # What the program says of itself: src/version.rs.
    export DIST_VERSION=$version
    cargo build --release --locked --bin pierhead --manifest-path "$top/Cargo.toml" \
        --target-dir "$top/target/package" ${target:+--target "$target"} >&2
    binary=$top/target/package/${target:+$target/}release/pierhead
    # (A cross build cannot be asked here.)
    if [ -z "$tools" ] && [ "$("$binary" --version)" != "pierhead $version" ]; then
        echo "packaging/build: the binary says $("$binary" --version), not $version" >&2
        exit 1
    fi
}

stage() {
    local root=$1
    local share=$root/usr/share doc=$root/usr/share/doc/pierhead
    install -d "$root"/{usr/bin,etc/pierhead,usr/lib/sysusers.d,usr/lib/tmpfiles.d} "$root/lib/systemd/system" \
        "$doc/examples" "$share/pierhead" "$share/man/man1" "$share/bash-completion/completions" \
        "$share/zsh/vendor-completions" "$share/fish/vendor_completions.d"
    install -m 0755 "$binary" "$root/usr/bin/pierhead"
    "${tools}strip" --strip-all --remove-section=.comment "$root/usr/bin/pierhead"
    "$here/symbols" "$root/usr/bin/pierhead" >"$work/needs"

    # Pages and completions come from a binary that runs here.
    local speaking=$root/usr/bin/pierhead
    if [ -n "$tools" ]; then speaking=${NATIVE_PIERHEAD:?set it to a native binary of the same commit}; fi
    "$speaking" generate man "$share/man/man1"
    gzip -9n "$share/man/man1"/*.1
    "$speaking" generate completions "$work/completions"
    install -m 0644 "$work/completions/pierhead.bash" "$share/bash-completion/completions/pierhead"
    install -m 0644 "$work/completions/_pierhead" "$share/zsh/vendor-completions/_pierhead"
    install -m 0644 "$work/completions/pierhead.fish" "$share/fish/vendor_completions.d/pierhead.fish"

    # Everything is a default until it is taken out of its comment.
    "$speaking" config sample | sed -E 's/^([^#[].*)$/#\1/' >"$root/etc/pierhead/pierhead.toml"
    chmod 0644 "$root/etc/pierhead/pierhead.toml"
    "$speaking" config check --config "$root/etc/pierhead/pierhead.toml" >&2

    install -m 0644 "$top"/systemd/*.{service,socket,timer} "$root/lib/systemd/system/"
    install -m 0644 "$top/systemd/pierhead.sysusers" "$root/usr/lib/sysusers.d/pierhead.conf"
    install -m 0644 "$top/systemd/pierhead.tmpfiles" "$root/usr/lib/tmpfiles.d/pierhead.conf"
    install -m 0644 "$top/systemd/override.conf.example" "$doc/examples/override.conf"
    install -m 0644 "$top/systemd/backup.conf.example" "$doc/examples/backup.conf"
    install -m 0644 "$top"/docs/*.md "$doc/"
    install -m 0644 "$top/storage-format/FORMAT.md" "$doc/FORMAT.md"
    gzip -9nc "$top/CHANGELOG.md" >"$doc/NEWS.gz"
    "$here/sbom" "$top" "$version" "$triple" "$doc/sbom.cdx.json" "$work/licences"
    gzip -9nc "$work/licences" >"$doc/third-party-licences.gz"
    install -m 0644 "$here/debian/copyright" "$doc/copyright"
    printf '%s\n' "${level:=$("$here/level" "$top")}" >"$share/pierhead/store-level"
    chmod -R u+rwX,go+rX,go-w "$root"
    find "$root" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
}
