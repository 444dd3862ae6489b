#!/usr/bin/env python3
"""Compares disk operations with `qemu-img` and `dd`: same data, run by turns in the same minute, syncs included, medians.

    convert   a dynamic VHD of 2 GiB that holds 1 GiB -> dynamic, -> fixed: against qemu-img + sync, and against dd of
              the stored bytes into a new file
    create    a fixed, a dynamic and a differencing image of 3 MiB, 2 GiB and 2040 GiB
    compact   an image of 1 GiB of which half was overwritten with zeros: against dd of what has to be read and moved
    merge     a child that holds 512 MiB into its parent of 1 GiB
    requests  sequential and random requests of 4 KiB through the block interface: against the same on the raw file
    chain     sequential and random reads of 4 KiB, and a conversion, of a chain of eight images: against one image
              that holds the same
    cancel    convert, compact, merge, check, compare, resize and creating a reserved image are asked to stop at several
              moments: milliseconds until they have returned; the source must be the same byte for byte, a disk worked
              on in place must hold the same, and no target may be left
    memory    the operations on a disk of 2040 GiB that is nearly empty, where tables are largest

Of convert, compact and merge also how far the percentage is from the part of the time that has passed, in points: the
worst report of a run, the median of the runs (compact has no limit: how fast the host cuts a file is not known before). Last comes the peak memory of every operation in all of the above, MiB.

Times in seconds, lower is better; the ratio is ours / theirs. Needs ./setup.sh build and 9 GiB in --folder. Leave the
machine alone while it runs."""
import argparse
import hashlib
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
MIB = 1 << 20
RUN = 128 * MIB
# What --check demands: times of ours in theirs, seconds, points, MiB.
LIMITS = {"qemu-img": 1.0, "dd": 1.3, "create": 0.1, "raw": 1 / 0.8, "chain": 1.5, "progress": 10, "cancel": 200,
          "memory": 48}


class Bench:
    def __init__(self, options):
        self.program, self.folder, self.runs = options.program, pathlib.Path(options.folder), options.runs
        self.failures, self.peaks, self.reports = [], {}, {}

    def path(self, name):
        return str(self.folder / name)

    def ours(self, operation, *arguments, cancel_after=None):
        environment = dict(os.environ)
        if cancel_after is not None:
            environment["VPC_BENCH_CANCEL"] = str(round(cancel_after * 1000))
        result = json.loads(subprocess.run([self.program, operation, *map(str, arguments)], check=True,
                                           stdout=subprocess.PIPE, env=environment).stdout)
        self.peaks[operation] = max(self.peaks.get(operation, 0), result["peak_kib"] / 1024)
        if cancel_after is None and "progress_error" in result:
            self.reports.setdefault(operation, []).append(result)
        return result

    def progress(self, operation):
        """The row of how true the progress of the runs so far was."""
        results = self.reports.pop(operation, [])
        errors = [result["progress_error"] for result in results]
        silence = max(result["longest_silence"] for result in results)
        limit = None if operation == "compact" else LIMITS["progress"]
        self.row(f"progress of {operation}: distance from the time", statistics.median(errors), limit,
                 " points", f"worst {max(errors):.1f}; longest silence {silence:.3f} s")

    @staticmethod
    def timed(*command):
        start = time.monotonic()
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        return time.monotonic() - start

    def fresh(self, *names):
        """Removes files, and leaves nothing that the host still has to write."""
        for name in names:
            pathlib.Path(self.path(name)).unlink(missing_ok=True)
        os.sync()

    def row(self, name, value, limit, unit="", detail=""):
        bad = limit is not None and value > limit
        if bad:
            self.failures.append(name)
        bound = f" (limit {limit:.2f})" if limit is not None else ""
        print(f"{name:44} {value:8.3f}{unit}{bound}{'  EXCEEDED' if bad else ''}  {detail}", flush=True)

    def compare(self, name, jobs, limits):
        """`jobs`: name -> function that returns seconds. The first one is ours."""
        seconds = {job: [] for job in jobs}
        for _ in range(self.runs):
            for job, run in jobs.items():
                seconds[job].append(run())
        medians = {job: statistics.median(values) for job, values in seconds.items()}
        ours = next(iter(jobs))
        detail = "  ".join(f"{job} {medians[job]:.3f} s ({min(values):.3f}-{max(values):.3f})"
                           for job, values in seconds.items())
        for job, limit in limits.items():
            self.row(f"{name}: / {job}", medians[ours] / medians[job], LIMITS[limit], detail=detail)

    def make_source(self):
        """The 1 GiB by itself, and a raw disk of 2 GiB that has it in every other run."""
        generator = random.Random(1)
        with open(self.path("data"), "wb") as data, open(self.path("disk.raw"), "wb") as disk:
            disk.truncate(16 * RUN)
            for run in range(8):
                disk.seek(2 * run * RUN)
                for _ in range(RUN // MIB):
                    piece = generator.randbytes(MIB)
                    data.write(piece)
                    disk.write(piece)
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "subformat=dynamic,force_size=on",
                        self.path("disk.raw"), self.path("source.vhd")], check=True)
        self.fresh("disk.raw")

    def dd(self, source, *arguments):
        self.fresh("copy")
        return self.timed("dd", f"if={self.folder / source}", f"of={self.path('copy')}", "bs=2M", "conv=fdatasync",
                          *arguments)

    def convert(self):
        self.reports.pop("convert", None)
        for kind in ("dynamic", "fixed"):
            def ours():
                self.fresh("target")
                return self.ours("convert", self.path("source.vhd"), self.path("target"), kind)["seconds"]

            def qemu():
                self.fresh("target")
                start = time.monotonic()
                self.timed("qemu-img", "convert", "-f", "vpc", "-O", "vpc", "-o", f"subformat={kind},force_size=on",
                           self.path("source.vhd"), self.path("target"))
                self.timed("sync", self.path("target"))
                return time.monotonic() - start

            self.compare(f"convert dynamic -> {kind}", {"ours": ours, "qemu-img": qemu, "dd": lambda: self.dd("data")},
                         {"qemu-img": "qemu-img", "dd": "dd"})
        self.progress("convert")
        self.fresh("target", "copy")

    def create(self):
        for size in (3 * MIB, 2 << 30, 2040 << 30):
            for kind in ("fixed", "dynamic", "differencing"):
                def create():
                    self.fresh("target")
                    if kind == "differencing":
                        return self.ours("child", self.path("target"), self.path("parent"))["seconds"]
                    return self.ours("create", self.path("target"), kind, size)["seconds"]

                self.fresh("parent")
                self.ours("create", self.path("parent"), "dynamic", size)
                seconds = [create() for _ in range(self.runs)]
                self.row(f"create {kind} {size // MIB} MiB", statistics.median(seconds), LIMITS["create"], " s",
                         f"{min(seconds):.3f}-{max(seconds):.3f}")
        self.reports.pop("create", None)
        self.reports.pop("child", None)
        self.fresh("target", "parent")

    def make_half(self, unwritten=False):
        """Every other block of 1 GiB holds zeros: 512 MiB stay, of which the 256 MiB of the second half move."""
        self.fresh("half", "target")
        self.ours("convert", self.path("data"), self.path("half"), "dynamic")
        with open(self.path("half"), "r+b") as half:
            table = 4096  # the first slot: footer copy, header and 512 entries fill less than a page
            for block in range(0, 512, 2):
                half.seek(table + block * (2 * MIB + 4096) + 4096)
                half.write(bytes(2 * MIB))
                if unwritten:
                    half.seek(table + block * (2 * MIB + 4096) + 4096 - 512)
                    half.write(bytes(512))  # the bitmap

    def copy(self, source, target):
        self.fresh(target)
        shutil.copyfile(self.path(source), self.path(target))
        os.sync()

    def compact(self):
        self.make_half()

        def ours():
            self.copy("half", "target")
            return self.ours("compact", self.path("target"))["seconds"]

        def dd():
            self.fresh("copy")
            read = self.timed("dd", f"if={self.path('half')}", "of=/dev/null", "bs=2M")
            return read + self.dd("half", "skip=256", "count=128")

        self.compare("compact, half of 1 GiB", {"ours": ours, "dd": dd}, {"dd": "dd"})
        self.progress("compact")
        self.fresh("half", "target", "copy")

    def make_child(self):
        """`parent.vhd` holds the first half of 1 GiB, `child.vhd` on top of it other data in the second and third
        quarter."""
        self.fresh("parent.vhd", "child.vhd")
        self.ours("create", self.path("parent.vhd"), "dynamic", 1024 * MIB)
        self.ours("image", self.path("parent.vhd"), "sequential", "write", 512 * MIB // 4096)
        self.ours("child", self.path("child.vhd"), self.path("parent.vhd"))
        self.ours("image", self.path("child.vhd"), "sequential", "write", 512 * MIB // 4096, 256 * MIB, 2)
        self.fresh()

    def merge(self):
        seconds = []
        for _ in range(self.runs):
            self.make_child()
            seconds.append(self.ours("merge", self.path("child.vhd"))["seconds"])
        print(f"merge of 512 MiB: {statistics.median(seconds):.3f} s ({min(seconds):.3f}-{max(seconds):.3f})")
        self.progress("merge")
        self.fresh("parent.vhd", "child.vhd")

    def warm(self, *names):
        """Has the host keep the files in memory, all in the same way, so that nothing but the programs is compared."""
        os.sync()
        for name in names:
            with open(self.path(name), "rb") as file:
                # What was written or read in small pieces is kept in small pieces, which are slower to find again.
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                while file.read(MIB):
                    pass

    def requests(self):
        size, count = 1024 * MIB, 200_000
        for kind in ("dynamic", "fixed"):
            self.fresh("target")
            self.ours("convert", self.path("data"), self.path("target"), kind)
            for order in ("sequential", "random"):
                for way in ("read", "write"):
                    jobs = {
                        "ours": lambda: self.ours("image", self.path("target"), order, way, count)["seconds"],
                        "raw": lambda: self.ours("file", self.path("copy"), order, way, count, size)["seconds"],
                    }
                    self.dd("data")
                    self.warm("target", "copy")
                    self.compare(f"4k {order} {way}, {kind}", jobs, {"raw": "raw"})
        self.fresh("target", "copy")

    def chain(self):
        """Seven children over 1 GiB, each of which has other 4 KiB in 4000 places of its own."""
        links = [f"link{number}.vhd" for number in range(8)]
        self.fresh("flat", "target", *links)
        self.ours("convert", self.path("data"), self.path(links[0]), "dynamic")
        for number in range(1, 8):
            self.ours("child", self.path(links[number]), self.path(links[number - 1]))
            self.ours("image", self.path(links[number]), "random", "write", 4000, 0, number + 1)
        leaf = links[-1]
        self.ours("convert", self.path(leaf), self.path("flat"), "dynamic")
        self.ours("compare", self.path(leaf), self.path("flat"))
        self.warm("flat", *links)
        for order in ("sequential", "random"):
            self.compare(f"chain of 8, 4k {order} read", {
                "ours": lambda: self.ours("image", self.path(leaf), order, "read", 200_000)["seconds"],
                "depth 1": lambda: self.ours("image", self.path("flat"), order, "read", 200_000)["seconds"],
            }, {"depth 1": "chain"})

        def convert(source):
            self.fresh("target")
            return self.ours("convert", self.path(source), self.path("target"), "fixed")["seconds"]

        self.compare("chain of 8, convert", {"ours": lambda: convert(leaf), "depth 1": lambda: convert("flat")},
                     {"depth 1": "chain"})
        self.reports.pop("convert")
        self.fresh("flat", "target", *links)

    def hash(self, name):
        with open(self.path(name), "rb") as file:
            return hashlib.file_digest(file, "sha1").digest()

    def cancel(self):
        """Each operation at ten moments of its time, the last of them in its very end."""
        def demand(good, what):
            if not good:
                self.failures.append(what)
                print(f"{what}: NO", flush=True)

        def cancelled(name, prepare, arguments, check):
            prepare()
            seconds = self.ours(*arguments)["seconds"]
            delays = []
            for part in (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97):
                prepare()
                result = self.ours(*arguments, cancel_after=part * seconds)
                if "cancelled_ms" in result:  # else it was faster this time
                    delays.append(result["cancelled_ms"])
                    check()
            demand(len(delays) >= 3, f"{name} can be cancelled")
            self.row(f"cancel {name}: worst of {len(delays)}", max(delays), LIMITS["cancel"], " ms",
                     f"median {statistics.median(delays):.1f}")

        for kind in ("dynamic", "fixed"):
            before = self.hash("source.vhd")
            cancelled(f"convert to {kind}", lambda: self.fresh("target"),
                      ("convert", self.path("source.vhd"), self.path("target"), kind),
                      lambda: demand(not os.path.exists(self.path("target")), "a cancelled convert leaves nothing"))
            demand(self.hash("source.vhd") == before, "a cancelled convert leaves the source as it was")
        self.fresh("target")

        self.make_half()
        cancelled("compact", lambda: self.copy("half", "target"), ("compact", self.path("target")),
                  lambda: self.ours("compare", self.path("half"), self.path("target")))
        self.fresh("half", "target")

        def prepare():
            self.make_child()
            self.fresh("expected")
            self.ours("convert", self.path("child.vhd"), self.path("expected"), "raw")
            self.fresh()
            self.child_hash = self.hash("child.vhd")

        def check():
            demand(self.hash("child.vhd") == self.child_hash, "a cancelled merge leaves the child as it was")
            self.ours("compare", self.path("child.vhd"), self.path("expected"))

        cancelled("merge", prepare, ("merge", self.path("child.vhd")), check)
        self.fresh("child.vhd", "parent.vhd", "expected")

        # Blocks whose bitmaps call zeros unwritten: a check has to read them.
        self.make_half(unwritten=True)
        before = self.hash("half")
        cancelled("check", lambda: self.fresh(), ("check", self.path("half")), lambda: None)
        demand(self.hash("half") == before, "a cancelled check leaves the image as it was")
        self.fresh("half")

        self.ours("convert", self.path("source.vhd"), self.path("copy"), "dynamic")
        self.fresh()
        before = self.hash("source.vhd"), self.hash("copy")
        cancelled("compare", lambda: self.fresh(), ("compare", self.path("source.vhd"), self.path("copy")),
                  lambda: None)
        demand((self.hash("source.vhd"), self.hash("copy")) == before, "a cancelled compare leaves both as they were")
        self.fresh("copy")

        # A disk that is made smaller by zeros, which have to be read.
        def make_zeros():
            self.dd("/dev/zero", "count=256")
            self.zeros_hash = self.hash("copy")

        cancelled("resize", make_zeros, ("resize", self.path("copy"), 4 * MIB),
                  lambda: demand(self.hash("copy") == self.zeros_hash, "a cancelled resize leaves the disk as it was"))
        self.fresh("copy")
        cancelled("create --reserve of 4 GiB", lambda: self.fresh("target"),
                  ("reserve", self.path("target"), 4 << 30),
                  lambda: demand(not os.path.exists(self.path("target")), "a cancelled create leaves nothing"))
        self.fresh("target")
        self.reports.clear()

    def memory(self):
        size = 2040 << 30
        self.fresh("huge.vhd", "child.vhd", "target")
        self.ours("create", self.path("huge.vhd"), "dynamic", size)
        for place in range(8):
            self.ours("image", self.path("huge.vhd"), "sequential", "write", 4096, place * (255 << 30), 1)
        self.ours("convert", self.path("huge.vhd"), self.path("target"), "fixed")
        self.ours("convert", self.path("target"), self.path("huge.raw"), "raw")
        self.fresh("target")
        self.ours("convert", self.path("huge.raw"), self.path("target"), "dynamic")
        self.ours("compare", self.path("huge.vhd"), self.path("target"))
        self.ours("compact", self.path("huge.vhd"))
        self.ours("child", self.path("child.vhd"), self.path("huge.vhd"))
        self.ours("image", self.path("child.vhd"), "random", "write", 200)
        self.ours("merge", self.path("child.vhd"))
        self.reports.clear()
        self.fresh("huge.vhd", "huge.raw", "child.vhd", "target")

    def peak_memory(self):
        for operation, mebibytes in self.peaks.items():
            if operation != "file":
                self.row(f"peak memory of {operation}", mebibytes, LIMITS["memory"], " MiB")


PARTS = ["convert", "create", "compact", "merge", "requests", "chain", "cancel", "memory"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(TOP / "build/release/tests/disk_bench"))
    parser.add_argument("--folder", default="/var/tmp/vpc-bench-disk", help="where the images are made")
    parser.add_argument("--runs", type=int, default=5, help="of each job; default 5")
    parser.add_argument("--only", choices=PARTS, action="append", help="one of the parts above; may be repeated")
    parser.add_argument("--check", action="store_true", help="fail if a limit is exceeded: " +
                        ", ".join(f"{name} {limit:g}" for name, limit in LIMITS.items()))
    options = parser.parse_args()
    pathlib.Path(options.folder).mkdir(parents=True, exist_ok=True)
    bench = Bench(options)
    try:
        bench.make_source()
        for part in options.only or PARTS:
            getattr(bench, part)()
        bench.peak_memory()
    finally:
        shutil.rmtree(options.folder, ignore_errors=True)
    if options.check and bench.failures:
        sys.exit("limits exceeded: " + ", ".join(bench.failures))


if __name__ == "__main__":
    main()
