#!/usr/bin/env python3
"""How long saving a machine and going on take, and how true their progress is.

    save      a Linux guest with 256 MiB of memory, much of it used, is saved: against `zstd -1` of the same pages, those
              that are not all zeros, from a file in the host's cache to another; by turns, medians
    restore   seconds until it runs again, the program's start included
    progress  of saving, going on and merging undo disks: how far the percentage is from the part of the task's time that
              has passed, in points: the worst report of a run, the median of the runs

Needs ./setup.sh build, `make-guests.sh OUT linux` and 2 GiB in --folder. Leave the machine alone while it runs."""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "guests"))
from guest_screen import Failure  # noqa: E402
from registered_machine import NAME, RegisteredMachine  # noqa: E402
from run_guest import add_kernel_options  # noqa: E402

MEMORY_PART = 2  # of a saved state; see tasks/state_file.h and tasks/saved_state.cpp
PAGE = 4096
MIB = 1 << 20
UNDO_MIB = 512
# What --check demands: times of ours in theirs, seconds, points.
LIMITS = {"save": 1.5, "restore": 0.7, "progress": 10}


def memory_pages(state, out):
    """Writes the pages that a saved state holds to a file, and returns how many bytes they are."""
    data = state.read_bytes()
    count, = struct.unpack_from("<I", data, 12)
    starts = struct.unpack_from(f"<{count}Q", data, len(data) - 16 - 8 * count)
    ends = [*starts[1:], len(data) - 16 - 8 * count]
    part = data[starts[MEMORY_PART]:ends[MEMORY_PART]]
    runs = subprocess.run(["zstd", "-d", "-q", "-c"], input=part, stdout=subprocess.PIPE, check=True).stdout
    position = written = 0
    with open(out, "wb") as file:
        while True:
            _, pages = struct.unpack_from("<II", runs, position)
            position += 8
            if pages == 0:
                return written
            written += file.write(memoryview(runs)[position:position + pages * PAGE])
            position += pages * PAGE


class Bench:
    def __init__(self, options, folder):
        image = folder / "disk.img"
        shutil.copyfile(options.guests / "linux.img", image)
        add_kernel_options(image, "nobench end=shell console=tty0")
        with open(folder / "second.img", "wb") as second:
            second.truncate((UNDO_MIB + 64) * MIB)
        self.folder = folder
        self.machine = RegisteredMachine(options.program, folder, "--memory", "256", "--boot", "c", "--hda", "disk.img",
                                         "--hdb", "second.img", "--serial", "file:com1")

    def timed(self, command, *arguments):
        """Seconds, and by how many points the progress was off at worst."""
        words = [self.machine.vpc, command, NAME, *arguments, "--progress", "json"]
        reports = []
        began = time.monotonic()
        with subprocess.Popen(words, cwd=self.folder, env=self.machine.environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                reports.append((time.monotonic() - began, json.loads(line)["percent"]))
        seconds = time.monotonic() - began
        if process.returncode != 0:
            raise Failure(f"{' '.join(words)}: status {process.returncode}")
        if not reports or reports[-1][1] != 100:
            raise Failure(f"{' '.join(words)}: it never reported 100 %")
        # Of the task's own time: the program has to come up before it, and the machine's process to end behind it.
        start, end = reports[0][0], reports[-1][0]
        return seconds, max(abs(percent - 100 * (at - start) / (end - start)) for at, percent in reports)

    def boot(self):
        self.machine.start()
        self.machine.wait_for_shell(300)

    def fill_memory(self):
        """Programs, text and noise, as a machine that has been used for a while."""
        self.machine.run("type", "cat /bin/busybox /bin/gbench >/tmp/a; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 "
                         "21 22 23 24 25 26 27 28 29 30; do cat /tmp/a >>/tmp/b; done; dd if=/dev/urandom of=/tmp/c bs=1M "
                         "count=24; dmesg >/tmp/d; echo FILLED-$((40+2)) >/dev/ttyS0{ENTER}")
        self.machine.wait_for_serial("FILLED-42", 120)

    def write_second_disk(self):
        """Whichever of the disks has no partitions."""
        self.machine.run("type", "for d in a b; do [ -b /dev/sd${d}1 ] || N=/dev/sd$d; done; dd if=/dev/urandom of=/tmp/n bs=1M "
                         f"count=32; for i in {' '.join(map(str, range(UNDO_MIB // 32)))}; do dd if=/tmp/n of=$N bs=1M "
                         "seek=$((i*32)) oflag=direct; done; echo WRITTEN-$((40+2)) >/dev/ttyS0{ENTER}")
        self.machine.wait_for_serial("WRITTEN-42", 300)


def compress(pages, out):
    began = time.monotonic()
    subprocess.run(["zstd", "-1", "-q", "-f", "-k", pages, "-o", out], check=True)
    return time.monotonic() - began


def run(options, folder):
    bench = Bench(options, folder)
    state = folder / "data" / "vpc" / f"{NAME}.vsv"
    saves, restores, theirs, points = [], [], [], {"save": [], "restore": [], "merge": []}
    bench.boot()
    bench.fill_memory()
    size = 0
    for _ in range(options.runs):
        seconds, off = bench.timed("save")
        saves.append(seconds)
        points["save"].append(off)
        size = memory_pages(state, folder / "pages")
        theirs.append(compress(folder / "pages", folder / "pages.zst"))
        seconds, off = bench.timed("start", "--headless")
        restores.append(seconds)
        points["restore"].append(off)
    bench.machine.run("turnoff")
    bench.machine.run("set", "--undo", "true")
    for _ in range(min(options.runs, 3)):
        bench.boot()
        bench.write_second_disk()
        bench.machine.run("turnoff", "--undo", "keep")
        points["merge"].append(bench.timed("merge-undo")[1])

    save, restore, other = (statistics.median(each) for each in (saves, restores, theirs))
    print(f"save      {save:6.3f} s   zstd -1 {other:6.3f} s   ratio {save / other:5.2f}   {size / MIB:.0f} MiB of pages")
    print(f"restore   {restore:6.3f} s")
    worst = {}
    for name, each in points.items():
        worst[name] = statistics.median(each)
        print(f"progress  {name:8} {worst[name]:3.0f} points   (runs: {', '.join(f'{one:.0f}' for one in each)})")
    failures = [] if save / other <= LIMITS["save"] else ["save"]
    failures += [] if restore <= LIMITS["restore"] else ["restore"]
    failures += [f"progress of {name}" for name, each in worst.items() if each > LIMITS["progress"]]
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, default=TOP / "build" / "release" / "vpc")
    parser.add_argument("--guests", type=pathlib.Path, default=TOP / "build" / "guests")
    parser.add_argument("--folder", default=os.environ.get("TMPDIR", "/var/tmp"), help="where files are made")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--check", action="store_true", help="fail when a limit is passed")
    options = parser.parse_args()
    options.program = options.program.resolve()
    with tempfile.TemporaryDirectory(prefix="vpc-bench-save-", dir=options.folder) as folder:
        try:
            failures = run(options, pathlib.Path(folder))
        except (Failure, subprocess.SubprocessError, OSError) as problem:
            print(f"FAILED: {problem}")
            return 1
        finally:
            subprocess.run([str(options.program), "turnoff", NAME], capture_output=True, check=False,
                           env=dict(os.environ, XDG_DATA_HOME=f"{folder}/data", XDG_RUNTIME_DIR=f"{folder}/run"))
    print("over the limit: " + ", ".join(failures) if failures else "within the limits")
    return 1 if options.check and failures else 0


sys.exit(main())
