#!/usr/bin/env python3
"""Compares `vpc run` with `qemu-system-i386 -accel tcg`: same guests, one CPU each, run by turns, medians.

    idle      what Linux costs that waits at its shell's prompt, in percent of one processor (--check: vpc's below 3)
    boot      milliseconds from the program's start to a boot sector's first line on COM1
    linux     seconds of Linux's whole run, from start to power-off; its GB rows in milliseconds of guest time;
              peak resident memory beside the guest memory that was touched
    disk      Linux writes and reads a second disk past its own cache: a dynamic VHD under vpc, a raw file under qemu;
              milliseconds of guest time
    cpubench  every section of our own benchmark, in milliseconds of host time

Lower is better everywhere; the ratio is vpc / qemu. Needs ./setup.sh build and ./setup.sh install --bench, and the
guests (tests/guests/make-guests.sh build/guests). Leave the machine alone while it runs."""
import argparse
import json
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
from run_guest import add_kernel_options, processor_seconds  # noqa: E402  pylint: disable=wrong-import-position

# What --check demands: of the whole run and of the boot, of any single row, and MiB above the touched guest memory.
WHOLE_LIMIT, ROW_LIMIT, MEMORY_LIMIT = 1.0, 1.5, 150
IDLE_LIMIT = 3.0  # percent of a processor
SETTLING_SECONDS, IDLE_SECONDS = 2, 10


def vpc_command(options, image, memory):
    return [options.vpc, "run", "--headless", "--undo", "--memory", str(memory), "--hda", image, "--serial", "stdio"]


def qemu_command(options, image, memory):
    return [options.qemu, "-accel", "tcg", "-smp", "1", "-m", str(memory), "-net", "none", "-display", "none",
            "-monitor", "none", "-serial", "stdio", "-snapshot", "-drive", f"file={image},format=raw"]


EMULATORS = {"vpc": vpc_command, "qemu": qemu_command}


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
    if name == "touched memory MiB" or "qemu" not in medians[name]:
        return ""
    if name == "peak memory MiB":
        over = medians[name]["vpc"] - medians["touched memory MiB"]["vpc"] - MEMORY_LIMIT
        return f"{over:.0f} MiB too many" if over > 0 else ""
    if name == "idle %":
        return f"above {IDLE_LIMIT}" if medians[name]["vpc"] > IDLE_LIMIT else ""
    limit = WHOLE_LIMIT if name in ("boot ms", "linux whole run s") else ROW_LIMIT
    ratio = medians[name]["vpc"] / max(medians[name]["qemu"], 1e-6)
    return f"above {limit}" if ratio > limit else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=f"some of {', '.join(BENCHES)}; default: all")
    parser.add_argument("--runs", type=int, default=5, help="runs of each; default 5")
    parser.add_argument("--vpc", type=pathlib.Path, default=TOP / "build/release/vpc")
    parser.add_argument("--qemu", default="qemu-system-i386")
    parser.add_argument("--guests", type=pathlib.Path, default=TOP / "build/guests")
    parser.add_argument("--pin", type=int, metavar="CPU", help="keep each program on one host CPU, by its number")
    parser.add_argument("--only", choices=EMULATORS, help="measure one of the two only")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write all runs and the medians")
    parser.add_argument("--check", action="store_true", help="exit 1 when a limit is exceeded: whole Linux run and boot "
                        f"{WHOLE_LIMIT}, every other row {ROW_LIMIT}, an idle guest {IDLE_LIMIT} %%, memory {MEMORY_LIMIT} MiB above what was touched")
    options = parser.parse_args()
    unknown = set(options.benches) - set(BENCHES)
    if unknown or options.runs < 1:
        parser.error(f"no bench {', '.join(unknown)}" if unknown else "--runs must be 1 or more")
    for needed in (options.guests / "linux.img", options.vpc):
        if not needed.exists():
            parser.error(f"{needed} is missing; see --help")

    emulators = [options.only] if options.only else list(EMULATORS)
    samples = {}
    for bench in options.benches or BENCHES:
        for turn in range(options.runs):
            for emulator in emulators:
                print(f"\r{bench}: {turn + 1} of {options.runs}, {emulator}   ", end="", file=sys.stderr, flush=True)
                for name, value in BENCHES[bench](emulator, options).items():
                    samples.setdefault(name, {}).setdefault(emulator, []).append(value)
    print("\r" + " " * 40 + "\r", end="", file=sys.stderr)

    medians = {name: {emulator: statistics.median(values) for emulator, values in by.items()}
               for name, by in samples.items()}
    print(f"{'':26}" + "".join(f"{emulator:>12}" for emulator in emulators) + f"{'ratio':>9}")
    failed = False
    for name, row in medians.items():
        complete = len(row) == len(EMULATORS)
        ratio = f"{row['vpc'] / max(row['qemu'], 1e-6):9.2f}" if complete else ""
        problem = excess(name, medians) if complete else ""
        failed = failed or bool(problem)
        print(f"{name:26}" + "".join(f"{row[emulator]:12.2f}" for emulator in emulators if emulator in row) + ratio +
              (f"  {problem}" if problem else ""))
    if options.json:
        options.json.write_text(json.dumps({"samples": samples, "medians": medians}, indent=1) + "\n")
    return 1 if options.check and failed else 0


if __name__ == "__main__":
    sys.exit(main())
