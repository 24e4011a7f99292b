#!/bin/sh
# Builds the peers in $1/peers, and prints the date, the machine, the compilers and their options.
# If a peer cannot be built, it is missing, and standard error shows why.
cd "$(dirname "$0")" || exit
peers=$1/peers
cc=${CC:-cc}
rustc=${RUSTC:-rustc}
host=$("$rustc" --print host-tuple)

build() {
	program=$1
	shift
	echo "- $program: cc $*"
	"$cc" "$@" -o "$peers/$program"
}

rm -rf "$peers"
mkdir -p "$peers"
echo "- $(date +%F), $(uname -srm)"
echo "- $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1), cores: $(nproc)"
echo "- $("$rustc" --version)"
echo "- cc: $("$cc" --version | head -n 1)"
echo "- nc: $(nc -h 2>&1 | head -n 1)"
ln -s "$(command -v nc)" "$peers/nc"
build plain -O2 plain.c
build plain-static -O2 -fPIE -static-pie plain.c
build floor -O2 -static floor.c

# This package's two programs, statically linked.
unset CARGO_ENCODED_RUSTFLAGS
export RUSTFLAGS="-C target-feature=+crt-static"
echo "- tcpserv and tcpcli, static: RUSTFLAGS=\"$RUSTFLAGS\""
"${CARGO:-cargo}" build --quiet --release --bins --target "$host" --target-dir "$1/static"
cp "$1/static/$host/release/tcpserv" "$1/static/$host/release/tcpcli" "$peers"
