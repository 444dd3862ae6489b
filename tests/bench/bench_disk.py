#!/usr/bin/env python3
"""Compares disk operations with `qemu-img` and `dd`: same data, run by turns in the same minute, syncs included, medians.

    convert   a dynamic VHD of 2 GiB that holds 1 GiB -> dynamic, -> fixed: against qemu-img + sync, and against dd of
              the stored bytes into a new file
    create    an image of 2 GiB and one of 2040 GiB, without data
    compact   an image of 1 GiB of which half was overwritten with zeros: against dd of what has to be read and moved
    4k        sequential and random requests of 4 KiB through the block interface: against the same on the raw file
    progress  how far the percentage is from the part of the time that has passed, in points
    memory    peak of any of the above, in MiB

Times in seconds, lower is better; the ratio is ours / theirs. Needs ./setup.sh build and 9 GiB in --folder. Leave the
machine alone while it runs."""
import argparse
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
LIMITS = {"qemu-img": 1.0, "dd": 1.3, "create": 0.1, "raw": 1 / 0.8, "progress": 10, "memory": 48}


class Bench:
    def __init__(self, options):
        self.program, self.folder, self.runs = options.program, pathlib.Path(options.folder), options.runs
        self.failures, self.peak = [], 0

    def path(self, name):
        return str(self.folder / name)

    def ours(self, *arguments):
        result = json.loads(subprocess.run([self.program, *map(str, arguments)], check=True, capture_output=True).stdout)
        self.peak = max(self.peak, result["peak_kib"] / 1024)
        return result

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
        bad = value > limit
        if bad:
            self.failures.append(name)
        print(f"{name:44} {value:8.3f}{unit} (limit {limit:.2f}){'  EXCEEDED' if bad else ''}  {detail}", flush=True)

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
        return self.timed("dd", f"if={self.path(source)}", f"of={self.path('copy')}", "bs=2M", "conv=fdatasync",
                          *arguments)

    def convert(self):
        worst_progress, silences = [], []
        for kind in ("dynamic", "fixed"):
            def ours():
                self.fresh("target")
                result = self.ours("convert", self.path("source.vhd"), self.path("target"), kind)
                worst_progress.append(result["progress_error"])
                silences.append(result["longest_silence"])
                return result["seconds"]

            def qemu():
                self.fresh("target")
                start = time.monotonic()
                self.timed("qemu-img", "convert", "-f", "vpc", "-O", "vpc", "-o", f"subformat={kind},force_size=on",
                           self.path("source.vhd"), self.path("target"))
                self.timed("sync", self.path("target"))
                return time.monotonic() - start

            self.compare(f"convert dynamic -> {kind}", {"ours": ours, "qemu-img": qemu, "dd": lambda: self.dd("data")},
                         {"qemu-img": "qemu-img", "dd": "dd"})
        self.row("progress: distance from the time", statistics.median(worst_progress), LIMITS["progress"], " points",
                 f"worst {max(worst_progress):.1f}; longest silence {max(silences):.3f} s")

    def create(self):
        for size in (2 << 30, 2040 << 30):
            for kind in ("dynamic", "fixed"):
                seconds = []
                for _ in range(self.runs):
                    self.fresh("target", "empty")
                    with open(self.path("empty"), "wb") as empty:
                        empty.truncate(size)
                    seconds.append(self.ours("convert", self.path("empty"), self.path("target"), kind)["seconds"])
                self.row(f"create {kind} {size >> 30} GiB", statistics.median(seconds), LIMITS["create"], " s")
        self.fresh("target", "empty")

    def compact(self):
        """Every other block of 1 GiB holds zeros: 512 MiB stay, of which the 256 MiB of the second half move."""
        self.fresh("half", "target")
        with open(self.path("data"), "rb") as data, open(self.path("full.raw"), "wb") as full:
            full.write(data.read(1024 * MIB))
        subprocess.run([self.program, "convert", self.path("full.raw"), self.path("half"), "dynamic"], check=True,
                       stdout=subprocess.DEVNULL)
        self.fresh("full.raw")
        with open(self.path("half"), "r+b") as half:
            table = 4096  # the first slot: footer copy, header and 512 entries fill less than a page
            for block in range(0, 512, 2):
                half.seek(table + block * (2 * MIB + 4096) + 4096)
                half.write(bytes(2 * MIB))

        def ours():
            self.fresh("target")
            shutil.copyfile(self.path("half"), self.path("target"))
            os.sync()
            return self.ours("compact", self.path("target"))["seconds"]

        def dd():
            self.fresh("copy")
            read = self.timed("dd", f"if={self.path('half')}", "of=/dev/null", "bs=2M")
            return read + self.dd("half", "skip=256", "count=128")

        self.compare("compact, half of 1 GiB", {"ours": ours, "dd": dd}, {"dd": "dd"})
        self.fresh("half", "target", "copy")

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
                    self.compare(f"4k {order} {way}, {kind}", jobs, {"raw": "raw"})
        self.fresh("target", "copy")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(TOP / "build/release/tests/disk_bench"))
    parser.add_argument("--folder", default="/var/tmp/vpc-bench-disk", help="where the images are made")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=["convert", "create", "compact", "requests"], action="append")
    parser.add_argument("--check", action="store_true", help="fail if a limit is exceeded")
    options = parser.parse_args()
    pathlib.Path(options.folder).mkdir(parents=True, exist_ok=True)
    bench = Bench(options)
    try:
        bench.make_source()
        for part in options.only or ["convert", "create", "compact", "requests"]:
            getattr(bench, part)()
        bench.row("peak memory", bench.peak, LIMITS["memory"], " MiB")
    finally:
        shutil.rmtree(options.folder, ignore_errors=True)
    if options.check and bench.failures:
        sys.exit("limits exceeded: " + ", ".join(bench.failures))


if __name__ == "__main__":
    main()
