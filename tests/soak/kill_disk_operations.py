#!/usr/bin/env python3
"""Kills `vpc disk compact`, `convert`, `merge`, `resize` and `set-parent` and the commit of an undo disk at random
moments, and looks at what they leave.

After each kill every image opens, passes `vpc disk check`, or `--repair` without loss, and holds every byte of a volume
(ext4, FAT16 or NTFS); qemu-img and the volume's own check, which nobody here wrote, agree; and the operation can be
repeated. With three kills or more for each operation, each gets every kind of volume. By hand, for instance:

    tests/soak/kill_disk_operations.py --vpc build/release/vpc --kills 200

Exit status: 0 all was as it should be, 1 something was not (its files are kept), 77 a tool is missing."""
import argparse
import hashlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
SKIPPED = 77


class Wrong(Exception):
    """What was found after a kill is not as it should be."""


def run(*command):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)


def need(*command):
    result = run(*command)
    if result.returncode != 0:
        raise Wrong(f"{' '.join(str(part) for part in command)}: {result.stdout}{result.stderr}".strip())
    return result.stdout


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def random_file(path, size, seed):
    path.write_bytes(random.Random(seed).randbytes(size))


class Ext4:
    name = "ext4"
    tools = ("mkfs.ext4", "e2fsck", "debugfs")

    @staticmethod
    def make(path):
        need("mkfs.ext4", "-q", "-F", path)

    @staticmethod
    def add(path, file, name):
        need("debugfs", "-w", "-R", f"write {file} {name}", path)

    @staticmethod
    def remove(path, name):
        need("debugfs", "-w", "-R", f"rm {name}", path)

    @staticmethod
    def settle(path):
        """debugfs leaves counts to e2fsck."""
        if run("e2fsck", "-f", "-p", path).returncode not in (0, 1):
            raise Wrong("debugfs has made no sound volume")

    @staticmethod
    def check(path):
        need("e2fsck", "-f", "-n", path)


class Fat:
    name = "fat"
    tools = ("mkfs.fat", "fsck.fat", "mcopy", "mdel")

    @staticmethod
    def make(path):
        need("mkfs.fat", "-F", "16", path)

    @staticmethod
    def add(path, file, name):
        need("mcopy", "-i", path, file, f"::{name}")

    @staticmethod
    def remove(path, name):
        need("mdel", "-i", path, f"::{name}")

    @staticmethod
    def settle(path):
        pass

    @staticmethod
    def check(path):
        need("fsck.fat", "-n", path)


class Ntfs:
    name = "ntfs"
    tools = ("mkntfs", "ntfsfix", "ntfscp")

    @staticmethod
    def make(path):
        need("mkntfs", "-q", "-F", "-Q", path)

    @staticmethod
    def add(path, file, name):
        need("ntfscp", "-q", "-f", path, file, name)

    @staticmethod
    def remove(path, name):
        """ntfs-3g's tools only empty a file."""
        need("ntfscp", "-q", "-f", path, "/dev/null", name)

    @staticmethod
    def settle(path):
        pass

    @staticmethod
    def check(path):
        need("ntfsfix", "-n", path)


VOLUMES = {volume.name: volume for volume in (Ext4, Fat, Ntfs)}
VOLUME_SIZE = 64 * MIB


def make_volume(kind, path, files, seed):
    """A raw disk that is a volume with so many files of 3 MB; the rest is holes."""
    with open(path, "wb") as disk:
        disk.truncate(VOLUME_SIZE)
    kind.make(path)
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "file"
        for number in range(files):
            random_file(file, 3_000_000, seed + number)
            kind.add(path, file, f"file{number}")
    kind.settle(path)


def change_volume(kind, volume, seed):
    """What a guest does to it: files come and go. Returns what it has written: (sector, bytes)."""
    before = volume.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        new = pathlib.Path(folder) / "new"
        random_file(new, 5_000_000, seed)
        kind.add(volume, new, "new")
        kind.remove(volume, "file1")
        kind.add(volume, new, "another")
    kind.settle(volume)
    after = volume.read_bytes()
    page = 4096
    return [(offset // 512, after[offset:offset + page]) for offset in range(0, len(after), page)
            if after[offset:offset + page] != before[offset:offset + page]]


class Operation:
    """One kind of operation: prepare() makes its files in a folder once, each kill works on a copy of them."""

    def __init__(self, programs, volume, folder):
        self.vpc, self.committer, self.volume, self.folder = programs.vpc, programs.commit_undo_disk, volume, folder

    def disk(self, *arguments):
        return need(self.vpc, "disk", *arguments)

    def same(self, image, model):
        found = run(self.vpc, "disk", "compare", image, model).stdout
        if found != "the disks are identical\n":
            raise Wrong(f"{image.name} against {model.name}: {found}")

    def qemu_agrees(self, image, model):
        need("qemu-img", "compare", "-f", "vpc", "-F", "raw", image, model)

    def volume_is_sound(self, image):
        """By its own check, which changes nothing. It ends where it did, however large its disk has become."""
        raw = image.with_suffix(".checked")
        need("qemu-img", "convert", "-f", "vpc", "-O", "raw", image, raw)
        os.truncate(raw, VOLUME_SIZE)
        self.volume.check(raw)
        raw.unlink()

    def program(self, work):
        """The command line that is killed."""
        return [self.vpc, "disk", *self.command(work), "--progress", "none"]

    def is_done(self, work):
        """Whether it is no more to be repeated."""
        return False

    def sound(self, image):
        """Nothing is wrong, or nothing that cannot be repaired without loss, such as footers that differ."""
        if run(self.vpc, "disk", "check", image).returncode != 0:
            self.disk("check", image, "--repair")


class Compact(Operation):
    """Blocks of zeros in front are dropped, so that the others move."""

    name = "compact"

    def prepare(self):
        full, model = self.folder / "disk.vhd", self.folder / "model.raw"
        make_volume(self.volume, model, 6, 1)
        noise = self.folder / "noise"
        noise.write_bytes(random.Random(2).randbytes(64 * MIB))
        need("qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "force_size=on", noise, full)
        noise.unlink()
        need("qemu-img", "convert", "-n", "-S", "0", "-f", "raw", "-O", "vpc", model, full)

    def command(self, work):
        return ["compact", work / "disk.vhd"]

    def examine(self, work):
        self.sound(work / "disk.vhd")
        self.same(work / "disk.vhd", work / "model.raw")
        self.qemu_agrees(work / "disk.vhd", work / "model.raw")
        self.volume_is_sound(work / "disk.vhd")

    finished = examine


class Merge(Operation):
    """A differencing image into a dynamic one."""

    name = "merge"

    child = "child.vhd"
    base_type = "dynamic"
    child_options = ()

    def prepare(self):
        base, child, model = self.folder / "base.vhd", self.folder / self.child, self.folder / "model.raw"
        make_volume(self.volume, model, 5, 3)
        self.disk("convert", model, base, "--type", self.base_type)
        self.disk("create", "--type", "differencing", "--parent", base, child, *self.child_options)
        write_child(child, change_volume(self.volume, model, 4))
        os.truncate(model, int(json.loads(self.disk("info", child, "--json"))["virtual_size"]))
        self.same(child, model)

    def command(self, work):
        return ["merge", work / "child.vhd"]

    def is_done(self, work):
        return not (work / self.child).exists()

    def examine(self, work):
        child = work / "child.vhd"
        self.sound(work / "base.vhd")
        if child.exists():
            self.sound(child)
            self.same(child, work / "model.raw")
        else:
            self.finished(work)

    def finished(self, work):
        if (work / self.child).exists():
            raise Wrong("the child was not deleted")
        self.sound(work / "base.vhd")
        self.same(work / "base.vhd", work / "model.raw")
        self.qemu_agrees(work / "base.vhd", work / "model.raw")
        self.volume_is_sound(work / "base.vhd")


class MergeLarger(Merge):
    """A differencing image into a smaller dynamic one, whose table has to grow."""

    name = "merge-larger"
    child_options = ("--size", "2G")


class MergeLargerFixed(MergeLarger):
    """The same into a fixed one."""

    name = "merge-larger-fixed"
    base_type = "fixed"
    child_options = ("--size", "80M")


class UndoCommit(Merge):
    """The commit of an undo disk that does not know yet where its disk is."""

    name = "undo-commit"
    child = "undo.vud"

    def prepare(self):
        super().prepare()
        (self.folder / "base.vhd").rename(self.folder / "disk.img")

    def examine(self, work):
        undo, disk = work / self.child, work / "disk.img"
        self.sound(disk)
        if undo.exists():
            # As a machine looks at it, whatever the undo disk has recorded.
            link = work / "base.vhd"
            link.symlink_to("disk.img")
            self.same(undo, work / "model.raw")
            link.unlink()
        else:
            self.finished(work)

    def finished(self, work):
        (work / "disk.img").rename(work / "base.vhd")
        super().finished(work)
        (work / "base.vhd").rename(work / "disk.img")

    def program(self, work):
        return [self.committer, work / self.child, work / "disk.img"]


class SetParent(Operation):
    """Back and forth between two places of the parent."""

    name = "set-parent"

    def prepare(self):
        parent, child, model = (self.folder / name for name in ("parent.vhd", "child.vhd", "model.raw"))
        make_volume(self.volume, model, 5, 7)
        self.disk("convert", model, parent, "--type", "dynamic")
        self.disk("create", "--type", "differencing", "--parent", parent, child)
        write_child(child, change_volume(self.volume, model, 8))
        parent.rename(self.folder / "moved.img")

    def command(self, work):
        return ["set-parent", work / "child.vhd", work / "moved.img"]

    def examine(self, work):
        # Found or not, only the parent's place may be wrong.
        info = json.loads(self.disk("info", work / "child.vhd", "--json"))
        if len(info["parents"]) != 1 or info["blocks_allocated"] == 0:
            raise Wrong(f"the child is not what it was: {info}")
        if info["parents"][0]["problem"] is None:
            self.finished(work)

    def finished(self, work):
        self.sound(work / "child.vhd")
        self.same(work / "child.vhd", work / "model.raw")
        whole = work / "whole.vhd"
        self.disk("merge-to", work / "child.vhd", whole, "--type", "dynamic", "--force")
        self.volume_is_sound(whole)


class Convert(Operation):
    """Into a new image, which is there as a whole or not at all."""

    name = "convert"

    def prepare(self):
        make_volume(self.volume, self.folder / "model.raw", 8, 5)
        self.disk("convert", self.folder / "model.raw", self.folder / "source.vhd", "--type", "dynamic")
        self.digest = digest(self.folder / "source.vhd")

    def command(self, work):
        return ["convert", work / "source.vhd", work / "target.vhd", "--type", "dynamic", "--force"]

    def examine(self, work):
        if digest(work / "source.vhd") != self.digest:
            raise Wrong("the source has changed")
        left = {path.name for path in work.iterdir()} - {"model.raw", "source.vhd", "target.vhd"}
        if left:
            raise Wrong(f"files are left behind: {', '.join(left)}")
        if (work / "target.vhd").exists():
            self.finished(work)

    def finished(self, work):
        self.sound(work / "target.vhd")
        self.same(work / "target.vhd", work / "model.raw")
        self.qemu_agrees(work / "target.vhd", work / "model.raw")
        self.volume_is_sound(work / "target.vhd")


class Resize(Operation):
    """To sixteen times the size: the table grows over the first blocks."""

    name = "resize"

    def prepare(self):
        make_volume(self.volume, self.folder / "model.raw", 8, 6)
        need("qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "force_size=on", self.folder / "model.raw",
             self.folder / "disk.vhd")
        shutil.copy(self.folder / "model.raw", self.folder / "large.raw")
        os.truncate(self.folder / "large.raw", 2048 * MIB)

    def command(self, work):
        return ["resize", work / "disk.vhd", "2G"]

    def examine(self, work):
        self.sound(work / "disk.vhd")
        size = self.disk("compare", work / "disk.vhd", work / "disk.vhd", "--json")
        self.same(work / "disk.vhd", work / ("large.raw" if f'"first_size":{2048 * MIB},' in size else "model.raw"))

    def finished(self, work):
        self.sound(work / "disk.vhd")
        self.same(work / "disk.vhd", work / "large.raw")
        self.volume_is_sound(work / "disk.vhd")


def write_child(child, writes):
    """Writes into a differencing VHD without blocks as the format says: whole blocks behind its structures, with the
    bits of what was written."""
    data = bytearray(child.read_bytes())
    footer = bytes(data[-512:])
    header = int.from_bytes(data[16 + len(data) - 512:][:8], "big")
    table = int.from_bytes(data[header + 16:][:8], "big")
    block_size = int.from_bytes(data[header + 32:][:4], "big")
    del data[-512:]
    blocks = {}
    for first, content in writes:
        for i in range(len(content) // 512):
            block, within = divmod(first + i, block_size // 512)
            bitmap, sectors = blocks.setdefault(block, (bytearray(512), bytearray(block_size)))
            bitmap[within // 8] |= 0x80 >> within % 8
            sectors[within * 512:within * 512 + 512] = content[i * 512:i * 512 + 512]
    for block, (bitmap, sectors) in blocks.items():
        data[table + 4 * block:table + 4 * block + 4] = (len(data) // 512).to_bytes(4, "big")
        data += bitmap + sectors
    child.write_bytes(bytes(data) + footer)


def copy_folder(folder, work):
    shutil.rmtree(work, ignore_errors=True)
    subprocess.run(["cp", "-r", "--sparse=always", folder, work], check=True)


def kill_once(operation, work, longest):
    """Returns whether the kill came while the operation ran."""
    copy_folder(operation.folder, work)
    command = [str(part) for part in operation.program(work)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(random.uniform(0, longest))
    process.kill()
    in_time = process.wait() == -9
    operation.examine(work)
    if not operation.is_done(work):
        again = run(*command)
        if again.returncode != 0:
            raise Wrong(f"it cannot be repeated: {again.stderr}")
    operation.finished(work)
    return in_time


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vpc", type=pathlib.Path, required=True, help="the program to test")
    parser.add_argument("--kills", type=int, default=200, help="how many, of all operations together")
    parser.add_argument("--commit-undo-disk", type=pathlib.Path, required=True,
                        help="the program that commits undo disks: UNDO DISK")
    kinds = {kind.name: kind for kind in (Compact, Convert, Merge, MergeLarger, MergeLargerFixed, Resize, SetParent,
                                          UndoCommit)}
    parser.add_argument("--operation", choices=kinds, help="only this one")
    parser.add_argument("--volume", choices=VOLUMES, help="only this kind")
    options = parser.parse_args()
    os.environ["MTOOLS_SKIP_CHECK"] = "1"  # of a geometry that a volume without a partition table cannot have
    for tool in ("qemu-img", *(tool for volume in VOLUMES.values() for tool in volume.tools)):
        if shutil.which(tool) is None:
            print(f"{tool} is not installed")
            return SKIPPED
    options.vpc, options.commit_undo_disk = options.vpc.resolve(), options.commit_undo_disk.resolve()
    kinds = [kinds[options.operation]] if options.operation else list(kinds.values())
    volumes = [VOLUMES[options.volume]] if options.volume else list(VOLUMES.values())
    if options.kills >= len(kinds) * len(volumes):
        jobs = [(kind, volume) for kind in kinds for volume in volumes]
    else:
        jobs = [(kind, volumes[number % len(volumes)]) for number, kind in enumerate(kinds)]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="vpc-kill-"))
    kills = in_time = 0
    try:
        for number, (kind, volume) in enumerate(jobs):
            operation = kind(options, volume, folder / kind.name)
            operation.folder.mkdir()
            operation.prepare()
            work = folder / "work"
            copy_folder(operation.folder, work)
            before = time.monotonic()
            need(*operation.program(work))
            longest = time.monotonic() - before
            operation.finished(work)
            count = options.kills * (number + 1) // len(jobs) - options.kills * number // len(jobs)
            hits = sum(kill_once(operation, work, longest) for _ in range(count))
            print(f"{operation.name}, {volume.name}: {count} kills, {hits} while it ran, nothing lost", flush=True)
            kills, in_time = kills + count, in_time + hits
            shutil.rmtree(operation.folder)
    except Wrong as wrong:
        print(f"FAILED after {kills} kills, in {operation.name}, {operation.volume.name}: {wrong}\nfiles kept in {folder}")
        return 1
    shutil.rmtree(folder)
    print(f"{kills} kills, {in_time} of them in time; unopenable images 0, lost bytes 0, not repeatable 0")
    return 0 if in_time > 0 or options.kills == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
