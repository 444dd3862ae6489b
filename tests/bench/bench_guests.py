#!/usr/bin/env python3
"""Compares `vpc run` with other emulators: same guests, one CPU each, run by turns, medians. They are
`qemu-system-i386 -accel tcg` and, where they are installed, Bochs (boot, cpubench) and v86 (boot, linux, cpubench).

    idle      what Linux costs that waits at its shell's prompt, in percent of one processor (--check: vpc's below 2)
    boot      milliseconds from the program's start to a boot sector's first line on COM1
    linux     seconds of Linux's whole run, from start to power-off; its GB rows in milliseconds of guest time;
              peak resident memory beside the guest memory that was touched. v86 cannot power off: to the last line
    disk      Linux writes and reads a second disk past its own cache: a dynamic VHD under vpc, a raw file under qemu;
              milliseconds of guest time
    cpubench  every section of our own benchmark, in milliseconds of host time

Lower is better everywhere; the ratio is vpc / qemu, and the geometric means are of these ratios. Where a peer is known
to be far ahead of QEMU, vpc has to close at least half of that distance: 100 % is as fast as that peer. Needs
./setup.sh build, ./setup.sh install --bench and the guests (tests/guests/make-guests.sh build/guests). Leave the
machine alone while it runs."""
import argparse
import json
import math
import os
import pathlib
import re
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/guests"))
from emulators import EMULATORS, OPTIONAL, choose, installed  # noqa: E402  pylint: disable=wrong-import-position
from run_guest import add_kernel_options, processor_seconds  # noqa: E402  pylint: disable=wrong-import-position

# What --check demands: of the whole run and of the boot, of any single row, of the geometric mean of Linux's GB rows
# and that of cpubench's sections, and MiB above the touched guest memory.
WHOLE_LIMIT, ROW_LIMIT, MEAN_LIMIT, MEMORY_LIMIT = 1.0, 1.1, 0.8, 150
IDLE_LIMIT = 2.0  # percent of a processor
# cpubench's sections in which another peer is far ahead of QEMU, and how much of that distance has to be closed.
DISTANT_SECTIONS = ("rmbios", "string", "cr3switch", "tlbwalk", "smc", "fputrans", "pioread", "vgatext", "planar")
CLOSED_LIMIT = 0.5
SETTLING_SECONDS, IDLE_SECONDS = 2, 30


class Run:
    """A running emulator whose serial lines are stamped with host time as they arrive."""

    def __init__(self, command, pin):
        def preexec():
            os.setpgid(0, 0)
            if pin is not None:
                os.sched_setaffinity(0, {pin})

        self.start = time.monotonic()
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=preexec)
        self.status = self.usage = None
        self.seconds = 0.0

    def lines(self, patience):
        """Yields (seconds since the start, line) until the output ends."""
        descriptor, rest = self.process.stdout.fileno(), b""
        while True:
            left = self.start + patience - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise SystemExit(f"no end after {patience} s: {' '.join(map(str, self.process.args))}")
            data = os.read(descriptor, 65536)
            now = time.monotonic() - self.start
            if not data:
                return
            *complete, rest = (rest + data).split(b"\n")
            for line in complete:
                yield now, line.decode("latin-1").strip()

    def touched_memory(self, memory):
        """MiB of the guest's RAM that are resident: those of the mapping that comes closest to its size."""
        best, touched = None, 0
        for block in re.finditer(r"^Size: +(\d+) kB\n(?:.*\n)*?Rss: +(\d+) kB",
                                 pathlib.Path(f"/proc/{self.process.pid}/smaps").read_text(), re.MULTILINE):
            distance = abs(int(block[1]) - memory * 1024)
            if best is None or distance < best:
                best, touched = distance, int(block[2]) / 1024
        return touched

    def end(self, kill=False):
        if kill:
            os.killpg(self.process.pid, signal.SIGKILL)
        _, status, self.usage = os.wait4(self.process.pid, 0)
        self.seconds = time.monotonic() - self.start
        self.process.returncode = self.status = os.waitstatus_to_exitcode(status)
        if not kill and self.status != 0:
            raise SystemExit(f"exit status {self.status}: {' '.join(map(str, self.process.args))}\n"
                             f"{self.process.stderr.read().decode(errors='replace')}")
        self.process.stdout.close()
        self.process.stderr.close()


def bench_boot(emulator, options):
    run = Run(EMULATORS[emulator](options, options.guests / "hello.img", 32), options.pin)
    for seconds, line in run.lines(60):
        if "TINY-HELLO" in line:
            run.end(kill=True)
            return {"boot ms": seconds * 1000}
    raise SystemExit(f"{emulator}: the boot sector printed nothing")


def bench_linux(emulator, options):
    memory = 256
    run = Run(EMULATORS[emulator](options, options.guests / "linux.img", memory), options.pin)
    rows, done = {}, False
    for seconds, line in run.lines(600):
        row = re.match(r"GB (\S+) +([0-9.]+) ms ", line)
        if row:
            rows[f"GB {row[1]} ms"] = float(row[2])
        elif "GUEST-MARKER: init" in line:
            rows["linux to init s"] = seconds
        elif "GUEST-DONE: OK" in line:
            done = True
            if emulator in OPTIONAL:
                run.end(kill=True)
                return {"linux whole run s": seconds, **rows}
            rows["touched memory MiB"] = run.touched_memory(memory)
    run.end()
    if not done:
        raise SystemExit(f"{emulator}: Linux did not come to its end")
    rows["peak memory MiB"] = run.usage.ru_maxrss / 1024
    return {"linux whole run s": run.seconds, **rows}


def bench_cpubench(emulator, options):
    run = Run(EMULATORS[emulator](options, options.guests / "cpubench-hd.img", 32), options.pin)
    rows, begin = {}, {}
    for seconds, line in run.lines(600):
        mark = re.search(r"(BEGIN|END) ([^ *]+)\*?", line)
        if mark and mark[1] == "BEGIN":
            begin[mark[2]] = seconds
        elif mark and not mark[2].startswith(("hlt", "busy")):  # those last as long as they are told to
            rows[f"cpubench {mark[2]} ms"] = (seconds - begin[mark[2]]) * 1000
        elif "CPUBENCH DONE" in line:
            rows["cpubench whole run ms"] = seconds * 1000
            break
    else:
        raise SystemExit(f"{emulator}: cpubench did not come to its end")
    run.end(kill=True)
    return rows


def bench_disk(emulator, options):
    with tempfile.TemporaryDirectory() as folder:
        image = pathlib.Path(folder) / "linux.img"
        subprocess.run(["cp", "--sparse=always", options.guests / "linux.img", image], check=True)
        add_kernel_options(image, "nobench benchdisk=sdb")
        command = EMULATORS[emulator](options, image, 256)
        # The second disk is written to for good, in the emulator's own format.
        if emulator == "vpc":
            disk = pathlib.Path(folder) / "disk.vhd"
            subprocess.run([options.vpc, "disk", "create", "--type", "dynamic", "--size", "1G", disk],
                           check=True, stdout=subprocess.DEVNULL)
            command = [word for word in command if word != "--undo"] + ["--hdb", disk]
        else:
            disk = pathlib.Path(folder) / "disk.img"
            disk.touch()
            os.truncate(disk, 1 << 30)
            command = [word for word in command if word != "-snapshot"] + ["-drive", f"file={disk},format=raw"]
        run, rows, good = Run(command, options.pin), {}, False
        for _, line in run.lines(600):
            row = re.match(r"DB (\S+) (\d+) ms", line)
            if row:
                rows[f"disk {row[1]} ms"] = float(row[2])
            good = good or "GUEST-BENCHDISK: OK" in line
        run.end()
        if not good or len(rows) != 4:
            raise SystemExit(f"{emulator}: Linux did not read what it wrote")
        return rows


def bench_idle(emulator, options):
    with tempfile.TemporaryDirectory() as folder:
        image = pathlib.Path(folder) / "linux.img"
        subprocess.run(["cp", "--sparse=always", options.guests / "linux.img", image], check=True)
        add_kernel_options(image, "nobench end=shell")
        run = Run(EMULATORS[emulator](options, image, 256), options.pin)
        for _, line in run.lines(600):
            if "GUEST-DONE: OK" in line:
                time.sleep(SETTLING_SECONDS)
                before, since = processor_seconds(run.process.pid), time.monotonic()
                time.sleep(IDLE_SECONDS)
                used = (processor_seconds(run.process.pid) - before) / (time.monotonic() - since)
                run.end(kill=True)
                return {"idle %": 100 * used}
    raise SystemExit(f"{emulator}: Linux did not come to its prompt")


BENCHES = {"idle": bench_idle, "boot": bench_boot, "linux": bench_linux, "disk": bench_disk, "cpubench": bench_cpubench}


def excess(name, medians):
    """What --check has against a row, or nothing."""
    row = medians[name]
    if name == "touched memory MiB" or "vpc" not in row:
        return ""
    if name == "idle %":
        return f"above {IDLE_LIMIT}" if row["vpc"] > IDLE_LIMIT else ""
    if name == "peak memory MiB":
        over = row["vpc"] - medians["touched memory MiB"]["vpc"] - MEMORY_LIMIT
        return f"{over:.0f} MiB too many" if over > 0 else ""
    is_whole = name in ("boot ms", "linux whole run s") or name.startswith("disk ")
    limit = WHOLE_LIMIT if is_whole else ROW_LIMIT
    return f"above {limit}" if "qemu" in row and ratio(row) > limit else ""


def ratio(row):
    return row["vpc"] / max(row["qemu"], 1e-6)


def distance_closed(name, row):
    """(How much of the distance between QEMU and a faster peer vpc closes, that peer), or nothing to close."""
    section = re.fullmatch(r"cpubench (\S+) ms", name)
    if not section or section[1] not in DISTANT_SECTIONS or not {"vpc", "qemu"} <= row.keys():
        return None
    best = min(row, key=lambda emulator: math.inf if emulator == "vpc" else row[emulator])
    return None if best == "qemu" else ((row["qemu"] - row["vpc"]) / (row["qemu"] - row[best]), best)


def print_means(medians, width):
    """Prints the geometric means of vpc / qemu; returns whether one is above its limit."""
    failed = False
    for title, pattern in (("GB rows", r"GB \S+ ms"), ("cpubench sections", r"cpubench \S+ ms")):
        ratios = [ratio(row) for name, row in medians.items()
                  if re.fullmatch(pattern, name) and {"vpc", "qemu"} <= row.keys()]
        if ratios:
            mean = statistics.geometric_mean(max(one, 1e-6) for one in ratios)
            failed = failed or mean > MEAN_LIMIT
            print(f"{'geometric mean of ' + title:{width}}{mean:9.2f}" +
                  (f"  above {MEAN_LIMIT}" if mean > MEAN_LIMIT else ""))
    return failed


def print_table(medians):
    """Prints the medians, their ratios and means; returns whether one is above its limit."""
    emulators = [emulator for emulator in EMULATORS if any(emulator in row for row in medians.values())]
    print(f"{'':26}" + "".join(f"{emulator:>12}" for emulator in emulators) + f"{'ratio':>9}")
    failed = False
    for name, row in medians.items():
        problems = [problem for problem in [excess(name, medians)] if problem]
        notes, closed = [], distance_closed(name, row)
        if closed:
            notes.append(f"{100 * closed[0]:.0f} % of the way to {closed[1]}")
            if closed[0] < CLOSED_LIMIT:
                problems.append(f"below {100 * CLOSED_LIMIT:.0f} %")
        failed = failed or bool(problems)
        values = (f"{row[emulator]:12.2f}" if emulator in row else " " * 12 for emulator in emulators)
        line = f"{name:26}" + "".join(values) + (f"{ratio(row):9.2f}" if {"vpc", "qemu"} <= row.keys() else " " * 9)
        print((line + "".join(f"  {note}" for note in notes + problems)).rstrip())
    return print_means(medians, 26 + 12 * len(emulators)) or failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=f"some of {', '.join(BENCHES)}; default: all")
    parser.add_argument("--runs", type=int, default=5, help="runs of each; default 5")
    parser.add_argument("--vpc", type=pathlib.Path, default=TOP / "build/release/vpc")
    parser.add_argument("--qemu", default="qemu-system-i386")
    parser.add_argument("--bochs", default="bochs")
    parser.add_argument("--v86", type=pathlib.Path, metavar="FOLDER", default=TOP / "build/peers/node_modules/v86",
                        help="the unpacked npm package; default: where ./setup.sh install --bench puts it")
    parser.add_argument("--guests", type=pathlib.Path, default=TOP / "build/guests")
    parser.add_argument("--pin", type=int, metavar="CPU", help="keep each program on one host CPU, by its number")
    parser.add_argument("--only", choices=EMULATORS, help="measure one of them only")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write all runs and the medians")
    parser.add_argument("--check", action="store_true",
                        help="exit 1 when a limit is exceeded: whole Linux run, boot and disk rows "
                             f"{WHOLE_LIMIT}, every other row {ROW_LIMIT}, geometric means {MEAN_LIMIT}, distance to a "
                             f"faster peer closed {100 * CLOSED_LIMIT:.0f} %%, an idle guest {IDLE_LIMIT} %%, memory "
                             f"{MEMORY_LIMIT} MiB above what was touched")
    options = parser.parse_args()
    unknown = set(options.benches) - set(BENCHES)
    if unknown or options.runs < 1:
        parser.error(f"no bench {', '.join(unknown)}" if unknown else "--runs must be 1 or more")
    for needed in (options.guests / "linux.img", options.vpc):
        if not needed.exists():
            parser.error(f"{needed} is missing; see --help")

    benches = options.benches or list(BENCHES)
    for emulator, where in OPTIONAL.items():
        if not installed(emulator, options) and options.only in (None, emulator) and set(where) & set(benches):
            print(f"{emulator} is not installed and left out", file=sys.stderr)
    samples = {}
    for bench in benches:
        for turn in range(options.runs):
            for emulator in choose(bench, options):
                print(f"\r{bench}: {turn + 1} of {options.runs}, {emulator}   ", end="", file=sys.stderr, flush=True)
                for name, value in BENCHES[bench](emulator, options).items():
                    samples.setdefault(name, {}).setdefault(emulator, []).append(value)
    print("\r" + " " * 40 + "\r", end="", file=sys.stderr)

    medians = {name: {emulator: statistics.median(values) for emulator, values in by.items()}
               for name, by in samples.items()}
    failed = print_table(medians)
    if options.json:
        options.json.write_text(json.dumps({"samples": samples, "medians": medians}, indent=1) + "\n")
    return 1 if options.check and failed else 0


if __name__ == "__main__":
    sys.exit(main())
