#!/usr/bin/env bash
# Sets up, builds, runs and tests VPC on Debian 12 and 13.
#
#     ./setup.sh [install] [--guests] [--tests] [--bench]   install what the build needs, and more on request
#     ./setup.sh build                                      … and build it: build/release/vpc
#     ./setup.sh run [OPTION...]                            … and boot Debian's Linux from a VHD to its own power-off;
#                                                           options are passed on to `vpc run`
#     ./setup.sh test                                       … and run every test: units (also under sanitizers),
#                                                           fuzzers for a short while, real guests
#
# Everything can be repeated: what is there already is left alone. As root, or with sudo for the packages.
# The exit status is that of the last step; that of `run` is vpc's own.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$top/third_party/debian/apt.sh"

for_build=(g++ cmake ninja-build ccache pkg-config libunicorn-dev libspdlog-dev libcli11-dev nlohmann-json3-dev libexpected-dev
    libpng-dev libsdl2-dev libzstd-dev libpugixml-dev libgtest-dev libvhdi-dev seabios)
for_guests=(nasm syslinux syslinux-common isolinux mtools dosfstools fdisk cpio xorriso qemu-utils python3 gcc
    gcc-multilib libc6-dev-i386)
for_tests=(git dosfstools e2fsprogs libvhdi-utils mtools ntfs-3g qemu-utils clang libclang-rt-dev clang-format clang-tidy xvfb
    xdotool x11-utils openbox)
for_bench=(qemu-system-x86 bochs bochs-term bochsbios vgabios zstd) # bochs-term: else Bochs brings a larger display
unicorn_at_least=2.1.1
v86_version=0.5.462

say() { printf '\n== %s\n' "$*"; }
fail() {
    printf 'setup.sh: %s\n' "$*" >&2
    exit 1
}
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        command -v sudo >/dev/null || fail "packages are missing and need root: run this as root, or install sudo"
        sudo "$@"
    fi
}

# --- packages ---------------------------------------------------------------------------------------------------------

installed() {
    local state version
    read -r state version < <(dpkg-query -W -f='${db:Status-Status} ${Version}\n' "$1" 2>/dev/null | head -n 1) || return 1
    [ "$state" = installed ] || return 1
    [ "$1" != libunicorn-dev ] || dpkg --compare-versions "$version" ge $unicorn_at_least
}
candidate_of_unicorn() { LC_ALL=C apt-cache policy libunicorn-dev | sed -n 's/^  Candidate: //p'; }

# Debian 12's Unicorn Engine cannot page. Debian 13's installs there as it is, so just that library is taken from it.
add_newer_unicorn() {
    local archive keyring candidate
    candidate=$(candidate_of_unicorn)
    [ -z "$candidate" ] || [ "$candidate" = '(none)' ] || dpkg --compare-versions "$candidate" lt $unicorn_at_least || return 0
    archive=$(debian_archive)
    keyring=$(debian_archive_keyring)
    [ -n "$archive" ] || fail "apt names no archive for this machine's release: add one to /etc/apt/sources.list"
    say "Adding the suite trixie for libunicorn and libvhdi"
    as_root tee /etc/apt/preferences.d/vpc-unicorn >/dev/null <<END
Package: *
Pin: release n=trixie
Pin-Priority: 50

Package: libunicorn* libvhdi*
Pin: release n=trixie
Pin-Priority: 600
END
    as_root tee /etc/apt/sources.list.d/vpc-trixie.sources >/dev/null <<END
Types: deb
URIs: $archive
Suites: trixie
Components: main
${keyring:+Signed-By: $keyring
}
END
}

available() { apt-get install --simulate -qq --no-install-recommends "$@" >/dev/null 2>&1; }
fetch_and_install() {
    as_root apt-get update -qq -o Acquire::Retries=3 || available "$@" || return 1
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o Acquire::Retries=3 \
        -o Dpkg::Use-Pty=0 "$@" </dev/null >"$log" || { tail -n 20 "$log" >&2; return 1; }
}
install_packages() { # install_packages PACKAGE...: those of them that are missing
    local missing=() package codename='' log
    for package in "$@"; do installed "$package" || missing+=("$package"); done
    [ ${#missing[@]} -gt 0 ] || return 0
    codename=$(. /etc/os-release 2>/dev/null && echo "${ID:-}:${VERSION_CODENAME:-}")
    case $codename in
        debian:bookworm) add_newer_unicorn ;;
        debian:trixie) ;;
        *) fail "this script knows Debian 12 and 13 only, and this is '$codename'; install by hand: ${missing[*]}" ;;
    esac
    [ "$(dpkg --print-architecture)" = amd64 ] || fail "VPC is built for amd64 only so far, and this is $(dpkg --print-architecture)"
    say "Installing ${missing[*]}"
    log=$(mktemp)
    retry 6 fetch_and_install "${missing[@]}" || fail "packages could not be installed, see above; package lists that are just changing on the archive settle within minutes"
    rm -f "$log"
    for package in "${missing[@]}"; do
        installed "$package" || fail "$package is still missing or too old; see 'apt-cache policy $package'"
    done
}

# An npm package, for the bench only, which leaves out what is not there.
install_v86() {
    local folder=$top/build/peers
    ! grep -qs "\"version\": \"$v86_version[+\"]" "$folder/node_modules/v86/package.json" || return 0
    command -v npm >/dev/null || { say "v86 is left out of the bench: npm is missing"; return 0; }
    say "Installing v86 $v86_version"
    npm install --prefix "$folder" --no-audit --no-fund --loglevel error "v86@$v86_version" ||
        say "v86 is left out of the bench: npm could not install it"
}

# --- building, running, testing ---------------------------------------------------------------------------------------

# With plain sudo the packages are root's business and the rest is the user's, who wants to own what is built.
rest_as_user() {
    [ "$(id -u)" = 0 ] && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ] && [ "$(stat -c %U "$top")" = "$SUDO_USER" ] || return 0
    exec sudo -H -u "$SUDO_USER" "$top/setup.sh" "$@"
}
configure_and_build() { # configure_and_build PRESET [TARGET...]
    local preset=$1
    shift
    say "Building: $preset"
    (cd "$top" && cmake --preset "$preset" >"$top/build/configure-$preset.log" 2>&1) ||
        { cat "$top/build/configure-$preset.log" >&2; fail "configuring the preset $preset failed"; }
    cmake --build "$top/build/$preset" ${1:+--target "$@"}
}
make_guests() {
    say "Guests"
    "$top/tests/guests/make-guests.sh" "$top/build/guests" "$@"
}

run() {
    configure_and_build release vpc
    make_guests linux
    say "Booting a copy of build/guests/linux-dynamic.vhd"
    mkdir -p "$top/build/run"
    cp --reflink=auto "$top/build/guests/linux-dynamic.vhd" "$top/build/run/"
    exec "$top/build/release/vpc" run --headless --memory 256 --hda "$top/build/run/linux-dynamic.vhd" --serial stdio \
        --time-limit 600 "$@"
}

test_all() {
    configure_and_build release
    make_guests
    # One build serves both: the fuzz targets' is instrumented by the two sanitizers, too.
    configure_and_build fuzz unit_tests fuzzers
    say "Unit tests under AddressSanitizer and UndefinedBehaviorSanitizer; fuzzers, briefly"
    (cd "$top" && ctest --preset fuzz -j "$(nproc)")
    say "Unit tests and guests"
    cd "$top" && VPC_GUESTS_REQUIRED=1 exec ctest --preset release -j "$(nproc)"
}

# --- command line -----------------------------------------------------------------------------------------------------

command=install
case ${1:-} in
    install | build | run | test) command=$1 && shift ;;
    -h | --help | help)
        sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        exit 0
        ;;
    '' | --guests | --tests | --bench) ;;
    *) echo "setup.sh: unknown command '$1'; see ./setup.sh --help" >&2 && exit 2 ;;
esac
packages=("${for_build[@]}") v86=
case $command in
    run) packages+=("${for_guests[@]}") ;;
    test) packages+=("${for_guests[@]}" "${for_tests[@]}") ;;
esac
if [ "$command" != run ]; then
    for option in "$@"; do
        case $command$option in
            install--guests) packages+=("${for_guests[@]}") ;;
            install--tests) packages+=("${for_guests[@]}" "${for_tests[@]}") ;;
            install--bench) packages+=("${for_guests[@]}" "${for_bench[@]}") && v86=wanted ;;
            *) echo "setup.sh: $command does not know '$option'; see ./setup.sh --help" >&2 && exit 2 ;;
        esac
    done
fi

install_packages "${packages[@]}"
[ "$command$v86" != install ] || exit 0
rest_as_user "$command" "$@"
mkdir -p "$top/build"
case $command in
    install) install_v86 ;;
    build) configure_and_build release ;;
    run) run "$@" ;;
    test) test_all ;;
esac
