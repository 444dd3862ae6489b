#!/usr/bin/env python3
"""Makes the seeds of the disk fuzzers from images and volumes of other programs: make_seeds.py FOLDER.

A seed is a sparse file as tests/fuzz/disk_input.h reads it. Only the first sectors of every stretch of data are kept:
the structures, not the contents."""
import pathlib
import shutil
import subprocess
import sys
import tempfile

SECTOR = 512
KEPT_AT_ONCE = 6  # sectors of a stretch of data
KEPT = 160  # sectors of a file


def number(value, size):
    return value.to_bytes(size, "little")


def seed(path, kept_at_once=KEPT_AT_ONCE):
    """Flags, size in sectors, pieces."""
    data = path.read_bytes()
    sectors = len(data) // SECTOR
    pieces, stretch, kept = [], 0, 0
    for sector in range(sectors):
        bytes_of_it = data[sector * SECTOR:(sector + 1) * SECTOR]
        if not any(bytes_of_it):
            stretch = 0
            continue
        stretch += 1
        last = sector == sectors - 1
        if last or (stretch <= kept_at_once and kept < KEPT):
            pieces.append(number(sector, 5) + number(0, 1) + bytes_of_it)
            kept += 1
    return number(0, 1) + number(sectors, 5) + b"".join(pieces)


def run(*command):
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_vhds(work):
    """Dynamic and fixed images of several sizes by qemu-img, with data here and there."""
    raw = work / "raw"
    images = []
    for size, options in (("3M", "subformat=dynamic"), ("40M", "subformat=dynamic"), ("40M", "subformat=fixed"),
                          ("2040G", "subformat=dynamic,force_size=on"), ("4G", "subformat=dynamic,force_size=on")):
        image = work / f"{size}-{options.split(',')[0][10:]}.vhd"
        if size in ("2040G", "4G"):
            run("qemu-img", "create", "-f", "vpc", "-o", options, image, size)
        else:
            raw.write_bytes(bytes(range(1, 256)) * 100)
            with open(raw, "r+b") as disk:
                disk.truncate(int(size[:-1]) << 20)
                disk.seek((int(size[:-1]) << 20) - 5000)
                disk.write(b"end")
            run("qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", options, raw, image)
        images.append(image)
    return images


def make_volumes(work):
    """Small volumes with a file on them where that is easy, with and without a partition table."""
    files = work / "files"
    files.mkdir()
    (files / "file").write_bytes(b"contents" * 5000)
    made = []
    for name, size, command in (("fat12", "2M", ["mkfs.fat", "-F", "12"]), ("fat16", "20M", ["mkfs.fat", "-F", "16"]),
                                ("fat32", "40M", ["mkfs.fat", "-F", "32"]), ("ntfs", "8M", ["mkntfs", "-F", "-Q", "-q"]),
                                ("ext2", "4M", ["mke2fs", "-q", "-F", "-t", "ext2", "-d", files]),
                                ("ext4", "8M", ["mke2fs", "-q", "-F", "-t", "ext4", "-d", files])):
        volume = work / name
        if shutil.which(command[0]) is None:
            continue
        run("truncate", "-s", size, volume)
        run(*command, volume)
        made.append(volume)
        disk = work / f"{name}-on-disk"
        table = bytearray(SECTOR)
        kind = {"fat12": 1, "fat16": 6, "fat32": 11, "ntfs": 7}.get(name, 0x83)
        table[446:462] = bytes([0x80, 1, 1, 0, kind, 0, 0, 0]) + number(63, 4) + number(volume.stat().st_size // SECTOR, 4)
        table[510:] = b"\x55\xAA"
        disk.write_bytes(bytes(table) + bytes(62 * SECTOR) + volume.read_bytes())
        made.append(disk)
    return made


def main():
    folder = pathlib.Path(sys.argv[1])
    for name in ("disk_image_fuzzer", "disk_chain_fuzzer", "disk_volume_fuzzer", "disk_vhdx_fuzzer"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        images = [(image.name, seed(image)) for image in make_vhds(work)]
        for image, data in images:
            (folder / "disk_image_fuzzer" / image).write_bytes(data)
            for parent, below in images:
                if len(data) + len(below) < 60_000:
                    chain = b"".join(number(len(part), 3) + part for part in (data, below, below))
                    (folder / "disk_chain_fuzzer" / f"{image}-over-{parent}").write_bytes(chain)
        for volume in make_volumes(work):
            (folder / "disk_volume_fuzzer" / volume.name).write_bytes(seed(volume, KEPT_AT_ONCE * 4))
    (folder / "disk_vhdx_fuzzer" / "unchanged").write_bytes(bytes(64))
    return 0


if __name__ == "__main__":
    sys.exit(main())
