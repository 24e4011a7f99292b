#!/usr/bin/env bash
# Builds the programs and type-checks the tests for other targets: musl, 64-bit ARM, 32-bit ARM.
# Then runs a --trace session of three lines for each under qemu-user, and for musl also natively.
#
# The script needs Debian 13 on x86_64 (a container will do), five minutes on two idle cores, 1 GB
# in target/, and these packages:
#   apt install cargo rust-src gcc libc6-dev musl-tools qemu-user \
#       gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc-arm-linux-gnueabihf libc6-dev-armhf-cross
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
dir=$(mktemp -d)
server=
trap '[ $? = 0 ] || cat "$dir"/*.log; kill $server 2> /dev/null || true; rm -r "$dir"' EXIT

# Debian has Rust's standard library for these targets only as source. With this variable, Cargo
# 1.85 accepts the nightly option that builds the library.
export RUSTC_BOOTSTRAP=1
export CARGO_PROFILE_DEV_DEBUG=0

build() { # TARGET LINKER PARTS_OF_STD
    local name=${1^^}
    export "CARGO_TARGET_${name//-/_}_LINKER=$2"
    cargo build --locked --target "$1" -Zbuild-std="$3" --bins
    cargo check --locked --target "$1" -Zbuild-std="$3" --tests
}

says() { # WORDS: waits until the server prints WORDS
    timeout 20 sh -c "until grep -q '$1' '$dir/serv.log'; do sleep 0.1; done"
}

session() { # TARGET COMMAND_THAT_RUNS_ITS_PROGRAMS
    local name=$1 programs=$target/$1/debug port log
    shift
    "$@" "$programs/tcpserv" --trace --bind 127.0.0.1 --port 0 2> "$dir/serv.log" &
    server=$!
    says 'listening on'
    port=$(sed -n 's/.*listening on .*://p' "$dir/serv.log")
    printf '%s\n' one two three > "$dir/lines"
    timeout 20 "$@" "$programs/tcpcli" --trace --port "$port" 127.0.0.1 \
        < "$dir/lines" > "$dir/echo" 2> "$dir/cli.log"
    says '_exit(0)'
    kill "$server"
    cmp "$dir/lines" "$dir/echo"
    for log in cli serv; do
        [ "$(grep -c 'ESTABLISHED Writen(' "$dir/$log.log")" = 3 ]
    done
    echo "$name: three lines echoed, and the states in both traces"
}

# musl has no library for unwinding the stack. The gcc library calls one glibc function.
mkdir -p "$target/unwind"
cp "$(gcc -print-file-name=libgcc_eh.a)" "$target/unwind/libunwind.a"
echo 'int _dl_find_object(void *pc, void *found) { return -1; }' |
    gcc -xc -c -o "$target/unwind/find.o" -
ar r "$target/unwind/libunwind.a" "$target/unwind/find.o"
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS="-Clink-self-contained=no
    -Crelocation-model=static -Lnative=$target/unwind"
build x86_64-unknown-linux-musl musl-gcc std,panic_abort
session x86_64-unknown-linux-musl env
session x86_64-unknown-linux-musl qemu-x86_64

build aarch64-unknown-linux-gnu aarch64-linux-gnu-gcc std
session aarch64-unknown-linux-gnu qemu-aarch64 -L /usr/aarch64-linux-gnu

build armv7-unknown-linux-gnueabihf arm-linux-gnueabihf-gcc std
session armv7-unknown-linux-gnueabihf qemu-arm -L /usr/arm-linux-gnueabihf
