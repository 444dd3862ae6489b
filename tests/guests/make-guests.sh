#!/usr/bin/env bash
# Builds real guests out of Debian 12's own packages.
#
#     make-guests.sh OUTDIR [guest...]
#
# Guests: linux (disk, VHDs, CD, kernel and initramfs), linux-pae, agent, memtest, grub, multiboot, bochsbios, ipxe,
# installer, cpubench, tiny. Default: all of them. A guest that is newer than what it is made of is not built again.
#
# Needs the host tools that `setup.sh install --guests` installs, and neither root nor any change to the machine's apt:
# packages come through a private apt configuration below OUTDIR/apt, from the archive the machine itself uses, always
# from the same suite, so that guests are the same everywhere. They are unpacked, never installed, and kept in
# OUTDIR/debs, so that later runs need no network. README.md beside this file says what each guest prints.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../third_party/debian/apt.sh"
suite=bookworm
known=(linux linux-pae agent memtest grub multiboot bochsbios ipxe installer cpubench tiny dos)

if [ $# -eq 0 ] || [ "$1" = --help ]; then
    sed -n '2,13s/^# \{0,1\}//p' "$0"
    exit $(($# == 0 ? 2 : 0))
fi
out=$(mkdir -p "$1" && cd "$1" && pwd)
shift
want=("$@")
[ ${#want[@]} -gt 0 ] || want=("${known[@]}")
for guest in "${want[@]}"; do
    [[ " ${known[*]} " == *" $guest "* ]] || { echo "make-guests.sh: no guest '$guest'; there are: ${known[*]}" >&2; exit 2; }
done
for tool in nasm syslinux mkfs.vfat mcopy xorriso cpio sfdisk qemu-img python3 gcc; do
    PATH=$PATH:/sbin:/usr/sbin command -v "$tool" >/dev/null ||
        { echo "make-guests.sh: '$tool' is missing: run ./setup.sh install --guests" >&2; exit 1; }
done
export MTOOLS_SKIP_CHECK=1 PATH=$PATH:/sbin:/usr/sbin

# --- packages ---------------------------------------------------------------------------------------------------------

private_apt() { # private_apt COMMAND ARGUMENT...: apt with its own lists and sources, for i386
    local command=$1 a=$out/apt
    shift
    "$command" -o Dir::State="$a/state" -o Dir::State::status="$a/status" -o Dir::Cache="$a/cache" \
        -o Dir::Etc::sourcelist="$a/sources.list" -o Dir::Etc::sourceparts="$a/none" -o Dir::Etc::preferences="$a/none" \
        -o Dir::Etc::preferencesparts="$a/none" -o APT::Architecture=i386 -o APT::Architectures::=i386 \
        -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Get::List-Cleanup=0 "$@"
}
lists_ready=
fetch_lists() {
    [ -z "$lists_ready" ] || return 0
    local archive keyring
    archive=$(debian_archive)
    keyring=$(debian_archive_keyring)
    [ -n "$archive" ] || { echo "make-guests.sh: apt names no Debian archive for this machine's release" >&2; exit 1; }
    mkdir -p "$out/apt/state/lists/partial" "$out/apt/cache/archives/partial" "$out/apt/none"
    : >"$out/apt/status"
    echo "deb [arch=i386${keyring:+ signed-by=$keyring}] $archive $suite main" >"$out/apt/sources.list"
    retry 6 private_apt apt-get update -qq || [ -n "$(private_apt apt-cache search --names-only '^busybox-static$')" ] ||
        { echo "make-guests.sh: the package lists of $suite cannot be fetched; try again in a few minutes" >&2; exit 1; }
    lists_ready=1
}
unpack() { # unpack PACKAGE...: fetches and extracts to $out/x/PACKAGE
    mkdir -p "$out/debs" "$out/x"
    local package deb
    for package in "$@"; do
        [ -d "$out/x/$package" ] && continue
        deb=$(find "$out/debs" -name "${package}_*.deb" | sort | tail -n 1)
        if [ -z "$deb" ]; then
            fetch_lists
            (cd "$out/debs" && retry 3 private_apt apt-get download -qq "$package" >/dev/null)
            deb=$(find "$out/debs" -name "${package}_*.deb" | sort | tail -n 1)
        fi
        rm -rf "$out/x/$package.part"
        dpkg-deb -x "$deb" "$out/x/$package.part"
        mv "$out/x/$package.part" "$out/x/$package"
    done
}
kernel_package() { # kernel_package FLAVOUR: the newest kernel below $out/debs, or the one the archive recommends
    local kept
    kept=$(find "$out/debs" -name "linux-image-*[0-9]-$1_*.deb" 2>/dev/null | sort -V | tail -n 1)
    if [ -n "$kept" ]; then
        basename "${kept%%_*}"
    else
        fetch_lists
        private_apt apt-cache depends "linux-image-$1" | sed -n "s/.*Depends: \(linux-image-[^:]*[0-9]-$1\).*/\1/p" | head -n 1
    fi
}

# --- disks ------------------------------------------------------------------------------------------------------------

disk() { # disk FILE MIB: MBR, one active FAT16 partition at 1 MiB, 4 MiB of raw space as partition 2
    local file=$1 mib=$2 fat=$((($2 - 1 - 4) * 2048))
    rm -f "$file"
    truncate -s "${mib}M" "$file"
    printf 'label-id: 0x56504321\n2048,%d,6,*\n%d,8192,da\n' $fat $((2048 + fat)) | sfdisk -q "$file"
    mkfs.vfat --invariant -F16 -n GUEST -h 2048 --offset 2048 "$file" $((fat / 2)) >/dev/null 2>&1
}
sysdisk() { # sysdisk FILE MIB CONFIGURATION FILE...: such a disk with syslinux
    local file=$1 mib=$2 configuration=$3 each
    shift 3
    disk "$file.part" "$mib"
    dd if=/usr/lib/syslinux/mbr/mbr.bin of="$file.part" bs=440 count=1 conv=notrunc status=none
    for each in "$@"; do mcopy -o -i "$file.part@@1M" "${each%%=*}" "::${each#*=}"; done
    mcopy -o -i "$file.part@@1M" - ::syslinux.cfg <<<"$configuration"
    syslinux --install -t 1048576 "$file.part"
    mv "$file.part" "$file"
}
current() { # current TARGET SOURCE...: the target exists and no source, nor this script, is newer
    local target=$1 each
    shift
    [ -e "$target" ] || return 1
    for each in "${BASH_SOURCE[0]}" "$@"; do [ ! "$each" -nt "$target" ] || return 1; done
}

# --- guests -----------------------------------------------------------------------------------------------------------

kernel_and_initramfs() { # kernel_and_initramfs FLAVOUR FOLDER: Debian's kernel and busybox, as FOLDER/vmlinuz and initramfs.gz
    local kernel version modules root=$2/root
    kernel=$(kernel_package "$1")
    version=${kernel#linux-image-}
    unpack "$kernel" busybox-static
    modules=$out/x/$kernel/lib/modules/$version/kernel
    rm -rf "$2"
    mkdir -p "$root"/{bin,sbin,proc,sys,dev,mnt,tmp,lib/modules,etc}
    cp "$out/x/$kernel/boot/vmlinuz-$version" "$2/vmlinuz"
    cp "$out/x/busybox-static/bin/busybox" "$root/bin/"
    gcc -m32 -O2 -w -march=i686 -mfpmath=387 -static -fno-pie -no-pie "$here/linux/gbench.c" -o "$root/bin/gbench" -lm
    strip "$root/bin/gbench"
    local module
    for module in lib/crc64 crypto/crct10dif_common crypto/crct10dif_generic crypto/crc64_rocksoft_generic lib/crc64-rocksoft \
        lib/crc-t10dif block/t10-pi drivers/scsi/scsi_common drivers/scsi/scsi_mod drivers/scsi/sd_mod drivers/ata/libata \
        drivers/ata/ata_piix drivers/ata/ata_generic drivers/cdrom/cdrom drivers/scsi/sr_mod crypto/crc32c_generic lib/libcrc32c \
        fs/mbcache fs/jbd2/jbd2 lib/crc16 fs/ext4/ext4 fs/fat/fat fs/fat/vfat fs/nls/nls_cp437 fs/nls/nls_ascii fs/isofs/isofs \
        drivers/block/floppy; do
        if [ -f "$modules/$module.ko" ]; then cp "$modules/$module.ko" "$root/lib/modules/"; fi
    done
    install -m755 "$here/linux/init" "$root/init"
    (cd "$root" && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet) | gzip -9n >"$2/initramfs.gz"
    python3 -c '
import sys
state, out = 1, bytearray()
for _ in range(2 * 1024 * 1024):
    state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
    out += state.to_bytes(4, "little")
sys.stdout.buffer.write(out)' >"$2/data8.bin"
}
linux_configuration='SERIAL 0 115200
PROMPT 0
TIMEOUT 1
DEFAULT linux
LABEL linux
 KERNEL vmlinuz
 INITRD initrd.gz
 APPEND console=tty0 console=ttyS0,115200 panic=-1 disk=sda'
linux() { # Debian's 686 kernel and busybox: kernel and initramfs, MBR disk with syslinux, the same as VHDs, bootable CD
    current "$out/linux-fixed.vhd" "$here"/linux/* && return
    local work=$out/work-linux
    kernel_and_initramfs 686 "$work"
    cp "$work/vmlinuz" "$work/initramfs.gz" "$work/root/bin/gbench" "$out/"
    md5sum "$work/data8.bin" | cut -d' ' -f1 >"$out/data8.md5"
    sysdisk "$out/linux.img" 64 "$linux_configuration" "$out/vmlinuz=vmlinuz" "$out/initramfs.gz=initrd.gz" "$work/data8.bin=data8.bin"
    mkdir -p "$work/iso/isolinux"
    cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/iso/isolinux/"
    cp "$out/vmlinuz" "$work/iso/vmlinuz"
    cp "$out/initramfs.gz" "$work/iso/initrd.gz"
    sed 's#KERNEL vmlinuz#KERNEL /vmlinuz#; s#INITRD initrd#INITRD /initrd#; s/disk=sda/disk=sr0/' <<<"$linux_configuration" >"$work/iso/isolinux/isolinux.cfg"
    xorriso -as mkisofs -quiet -o "$out/linux.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot \
        -boot-load-size 4 -boot-info-table -V LINUXISO "$work/iso" 2>/dev/null
    qemu-img convert -f raw -O vpc -o subformat=dynamic "$out/linux.img" "$out/linux-dynamic.vhd"
    qemu-img convert -f raw -O vpc -o subformat=fixed,force_size=on "$out/linux.img" "$out/linux-fixed.vhd"
    rm -rf "$work"
}
linux-pae() { # the same disk with the 686-pae kernel
    current "$out/linux-pae.img" "$here"/linux/* && return
    local work=$out/work-linux-pae
    kernel_and_initramfs 686-pae "$work"
    sysdisk "$out/linux-pae.img" 64 "$linux_configuration" "$work/vmlinuz=vmlinuz" "$work/initramfs.gz=initrd.gz" "$work/data8.bin=data8.bin"
    rm -rf "$work"
}
agent() { # the kernel and initramfs of linux, and over it what makes a guest with the QEMU guest agent
    current "$out/agent.img" "$here"/agent/* "$here"/linux/* && return
    linux
    local kernel modules work=$out/work-agent package library
    kernel=$(kernel_package 686)
    modules=$out/x/$kernel/lib/modules/${kernel#linux-image-}/kernel
    unpack qemu-guest-agent libc6 libglib2.0-0 libnuma1 libpcre2-8-0 libudev1 liburing2
    rm -rf "$work"
    mkdir -p "$work/root"/{bin,sbin,lib/modules,etc/acpi/PWRF}
    cp "$modules/drivers/input/evdev.ko" "$modules/drivers/acpi/button.ko" "$work/root/lib/modules/"
    cp "$out/x/qemu-guest-agent/usr/sbin/qemu-ga" "$work/root/sbin/"
    for library in ld-linux.so.2 libc.so.6 libm.so.6 libglib-2.0.so.0 libgmodule-2.0.so.0 libnuma.so.1 libpcre2-8.so.0 \
        libudev.so.1 liburing.so.2; do
        cp -L "$(find "$out"/x/lib*/lib "$out"/x/lib*/usr/lib -name "$library" -print -quit 2>/dev/null)" "$work/root/lib/$library"
    done
    gcc -m32 -O2 -w -march=i686 -static -fno-pie -no-pie "$here/agent/session.c" -o "$work/root/bin/session"
    strip "$work/root/bin/session"
    install -m755 "$here/agent/init" "$work/root/agent-init"
    install -m755 "$here/agent/shutdown" "$work/root/sbin/shutdown"
    install -m755 "$here/agent/power-button" "$work/root/etc/acpi/PWRF/00000080"
    install -m644 "$here/agent/os-release" "$work/root/etc/os-release"
    (cd "$work/root" && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet) | gzip -9n >"$work/agent.gz"
    sysdisk "$out/agent.img" 64 'SERIAL 0 115200
PROMPT 0
TIMEOUT 1
DEFAULT linux
LABEL linux
 KERNEL vmlinuz
 INITRD initrd.gz,agent.gz
 APPEND console=tty0 panic=-1 rdinit=/agent-init' "$out/vmlinuz=vmlinuz" "$out/initramfs.gz=initrd.gz" "$work/agent.gz=agent.gz"
    rm -rf "$work"
}
memtest() {
    current "$out/memtest.img" && return
    unpack memtest86+
    local name
    for name in memtest86+ia32.bin memtest86+ia32.iso; do
        find "$out/x/memtest86+" -name "$name" -exec cp {} "$out/" \;
    done
    sysdisk "$out/memtest.img" 32 'PROMPT 0
TIMEOUT 1
DEFAULT memtest
LABEL memtest
 LINUX memtest
 APPEND console=ttyS0,115200' "$out/memtest86+ia32.bin=memtest"
}
grub() {
    current "$out/grub-rescue-usb.img" && return
    unpack grub-rescue-pc
    cp "$out"/x/grub-rescue-pc/usr/lib/grub-rescue/grub-rescue-{floppy.img,cdrom.iso,usb.img} "$out/"
    truncate -s 1474560 "$out/grub-rescue-floppy.img"
}
multiboot() { # GRUB's CD, and on it two kernels for its prompt: GRUB Invaders and GNU Mach
    current "$out/multiboot.iso" && return
    unpack grub-rescue-pc grub-invaders gnumach-image-1.8-486
    local mach
    mach=$(find "$out/x/gnumach-image-1.8-486/boot" -name 'gnumach*.gz')
    rm -f "$out/multiboot.iso.part"
    xorriso -indev "$out/x/grub-rescue-pc/usr/lib/grub-rescue/grub-rescue-cdrom.iso" -outdev "$out/multiboot.iso.part" \
        -boot_image any replay -map "$out/x/grub-invaders/boot/invaders.exec" /invaders -map "$mach" /gnumach 2>/dev/null
    mv "$out/multiboot.iso.part" "$out/multiboot.iso"
}
bochsbios() { # another system BIOS and another VGA BIOS than SeaBIOS'
    current "$out/bochs-vgabios.bin" && return
    unpack bochsbios vgabios
    cp "$out/x/bochsbios/usr/share/bochs/BIOS-bochs-latest" "$out/bochs-bios.bin"
    cp "$out/x/vgabios/usr/share/vgabios/vgabios.bin" "$out/bochs-vgabios.bin"
}
ipxe() {
    current "$out/ipxe.iso" && return
    unpack ipxe
    cp "$out/x/ipxe/usr/lib/ipxe/ipxe.iso" "$out/"
}
installer() {
    current "$out/installer.img" && return
    unpack debian-installer-12-netboot-i386 unifont
    cp "$out/x/unifont/usr/share/unifont/unifont.hex" "$out/" # its text on a frame buffer is in this font
    local images=$out/x/debian-installer-12-netboot-i386/usr/lib/debian-installer/images/12/i386
    cp "$images/text/debian-installer/i386/linux" "$out/di-linux"
    cp "$images/text/debian-installer/i386/initrd.gz" "$out/di-text-initrd.gz"
    cp "$images/gtk/debian-installer/i386/initrd.gz" "$out/di-gtk-initrd.gz"
    local configuration='PROMPT 0
TIMEOUT 1
DEFAULT installer
LABEL installer
 KERNEL linux
 INITRD initrd.gz
 APPEND nomodeset'
    sysdisk "$out/installer-gtk.img" 96 "$configuration vga=788" "$out/di-linux=linux" "$out/di-gtk-initrd.gz=initrd.gz"
    sysdisk "$out/installer.img" 96 "$configuration" "$out/di-linux=linux" "$out/di-text-initrd.gz=initrd.gz"
}
cpubench() {
    current "$out/cpubench-hd.img" "$here"/cpu_bench/* || sh "$here/cpu_bench/mkimg.sh" "$out"
}
tiny() { # boot sectors of our own, each the first sector of a 1 MiB disk
    local source name
    for source in "$here"/tiny/*.asm; do
        name=$(basename "$source" .asm)
        current "$out/$name.img" "$source" "$here"/tiny/*.inc && continue
        nasm -f bin -I "$here/tiny/" "$source" -o "$out/$name.img.part"
        truncate -s 1M "$out/$name.img.part"
        mv "$out/$name.img.part" "$out/$name.img"
    done
}
dos() { # a disk and two floppies of our own for a session of real-mode programs
    local each sources=("$here"/dos/*.asm "$here"/dos/*.inc "$here/tiny/serial.inc")
    current "$out/dos.img" "${sources[@]}" && return
    for each in one two; do
        nasm -f bin -I "$here/dos/" -D "LABEL='DOS-DISK-${each^^}'" "$here/dos/floppy.asm" -o "$out/dos-$each.img"
        truncate -s 1440K "$out/dos-$each.img"
    done
    nasm -f bin -I "$here/dos/" -I "$here/tiny/" "$here/dos/session.asm" -o "$out/dos.img.part"
    truncate -s 1M "$out/dos.img.part"
    mv "$out/dos.img.part" "$out/dos.img"
}

for guest in "${want[@]}"; do
    echo "guest $guest"
    "$guest"
done
