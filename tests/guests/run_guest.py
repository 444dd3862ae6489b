#!/usr/bin/env python3
"""Runs one scripted guest, described by a JSON file, under `vpc run` and checks what came of it.

Exit status: 0 all as described, 1 something differs, 77 the guest's image was not built (a failure instead when
VPC_GUESTS_REQUIRED is set). README.md beside this file describes the JSON."""
import argparse
import copy
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import time

from guest_screen import Failure, check_picture
from step_by_step import run_steps

SECTOR = 512
DIFFERENCING = 4  # the type in a VHD's footer
UNALLOCATED = 0xFFFFFFFF
SKIPPED = 77
KNOWN_KEYS = {"description", "extends", "cases", "labels", "cost", "disk", "memory", "arguments", "keys", "time_limit", "exit",
              "serial", "screen", "forbidden", "stderr", "stderr_lines", "seconds", "cpu_seconds", "rss_mib",
              "interrupt_after", "idle", "picture", "after", "as_nobody", "registered", "steps", "files"}
SETTLING_SECONDS = 2


class NotBuilt(Exception):
    """The guest's image is not there."""


# --- descriptions -----------------------------------------------------------------------------------------------------

def merged(base, extra):
    """`extra` over `base`: lists are joined, objects merged, anything else replaced."""
    result = copy.deepcopy(base)
    for key, value in extra.items():
        if isinstance(value, list) and isinstance(result.get(key), list):
            result[key] = result[key] + value
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def load_cases(path):
    """The runs that a file describes: one, or one for each of its cases."""
    whole = json.loads(path.read_text())
    base = {}
    for name in whole.pop("extends", []):
        base = merged(base, json.loads((path.parent / name).read_text()))
    whole = merged(base, whole)
    cases = whole.pop("cases", [{}])
    runs = [merged(whole, case) for case in cases]
    for run in runs:
        unknown = set(run) - KNOWN_KEYS
        if unknown:
            raise SystemExit(f"{path}: unknown keys: {', '.join(sorted(unknown))}")
    return runs


# --- disks ------------------------------------------------------------------------------------------------------------

def add_kernel_options(image, words):
    """Appends words to the kernel command line in the syslinux.cfg of a raw disk image."""
    device = f"{image}@@1M"
    environment = dict(os.environ, MTOOLS_SKIP_CHECK="1")
    text = subprocess.run(["mcopy", "-i", device, "::syslinux.cfg", "-"], check=True, capture_output=True, text=True,
                          env=environment).stdout
    text = re.sub(r"^( *APPEND .*)$", lambda line: f"{line[1]} {words}", text, flags=re.MULTILINE)
    subprocess.run(["mcopy", "-o", "-i", device, "-", "::syslinux.cfg"], check=True, input=text, text=True,
                   env=environment)


def copy_of(guests, name, work):
    """Makes the run's own copy of a guest's file below `work` and returns its path."""
    source, path = guests / name, work / name
    if not source.exists():
        raise NotBuilt(f"{source} is not there; tests/guests/make-guests.sh builds it")
    subprocess.run(["cp", "--reflink=auto", "--sparse=always", source, path], check=True)
    path.chmod(0o644)
    return path


def prepare_disk(disk, vpc, guests, work):
    """Makes the run's own image below `work` and returns its path."""
    kind = disk.get("kind", "copy")
    path = work / disk.get("image", "disk.img")
    if kind == "missing":
        return path
    if kind == "empty":
        path.touch()
        return path
    if kind == "directory":
        path.mkdir()
        return path
    path = copy_of(guests, disk["image"], work)
    if "kernel_options" in disk:
        add_kernel_options(path, disk["kernel_options"])
    if "convert" in disk:
        raw, path = path, path.with_suffix(".vhd")
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", f"subformat={disk['convert']}", raw,
                        path], check=True)
        raw.unlink()
    for number in range(disk.get("children", 0)):
        parent, path = path, work / f"child-{number + 1}.vhd"
        subprocess.run([vpc, "disk", "create", "--type", "differencing", "--parent", parent, path], check=True)
    if "truncate_to" in disk:
        os.truncate(path, disk["truncate_to"])
    if "permissions" in disk:
        path.chmod(int(disk["permissions"], 8))
    return path


def vhd_kind(data):
    return struct.unpack_from(">I", data, len(data) - SECTOR + 60)[0]


def vhd_blocks(data):
    """Table offset, table entries, bytes of a bitmap and bytes of data per block of a dynamic or differencing VHD."""
    header_at, = struct.unpack_from(">Q", data, len(data) - SECTOR + 16)
    table_at, = struct.unpack_from(">Q", data, header_at + 16)
    count, block_size = struct.unpack_from(">II", data, header_at + 28)
    bitmap_size = -(-block_size // SECTOR // 8 // SECTOR) * SECTOR
    return table_at, struct.unpack_from(f">{count}I", data, table_at), bitmap_size, block_size


def recorded_parent(data):
    header_at, = struct.unpack_from(">Q", data, len(data) - SECTOR + 16)
    return data[header_at + 64:header_at + 576].decode("utf-16-be").split("\0")[0]


def lay_over(child, raw):
    """Puts the sectors that a differencing VHD holds over its parent's disk. No independent program reads these."""
    _, entries, bitmap_size, block_size = vhd_blocks(child)
    child = memoryview(child)
    with open(raw, "r+b") as disk:
        for block, entry in enumerate(entries):
            if entry == UNALLOCATED:
                continue
            at = entry * SECTOR
            for sector in range(block_size // SECTOR):
                if child[at + sector // 8] & 0x80 >> sector % 8:
                    disk.seek(block * block_size + sector * SECTOR)
                    disk.write(child[at + bitmap_size + sector * SECTOR:][:SECTOR])


def as_raw(path, work):
    """The disk's contents as the guest sees them, read by an independent program when it is a VHD."""
    if path.suffix != ".vhd":
        return path
    raw = work / (path.name + ".raw")
    data = path.read_bytes()
    if vhd_kind(data) == DIFFERENCING:
        parent = path.parent / recorded_parent(data)
        subprocess.run(["cp", "--sparse=always", as_raw(parent, work), raw], check=True)
        lay_over(data, raw)
        return raw
    subprocess.run(["qemu-img", "convert", "-f", "vpc", "-O", "raw", path, raw], check=True)
    return raw


def differing_sectors(one, other):
    """First and last sector in which two raw images differ, or None."""
    first = last = None
    chunk = 2048 * SECTOR
    with open(one, "rb") as a, open(other, "rb") as b:
        position = 0
        while True:
            left, right = a.read(chunk), b.read(chunk)
            if not left and not right:
                return None if first is None else (first, last)
            if left != right:
                for offset in range(0, max(len(left), len(right)), SECTOR):
                    if left[offset:offset + SECTOR] != right[offset:offset + SECTOR]:
                        last = (position + offset) // SECTOR
                        first = last if first is None else first
            position += chunk


def check_vhd(path):
    """Structure of a VHD: checksums, the footer's copy, blocks within the file and disjoint."""
    data = path.read_bytes()

    def sum_is_right(block, offset):
        stored = struct.unpack_from(">I", block, offset)[0]
        rest = block[:offset] + b"\0\0\0\0" + block[offset + 4:]
        return stored == ~sum(rest) & 0xFFFFFFFF

    footer = data[-SECTOR:]
    if footer[:8] != b"conectix" or not sum_is_right(footer, 64):
        raise Failure("the VHD's footer is damaged")
    kind = vhd_kind(data)
    if kind == 2:
        return
    if kind not in (3, DIFFERENCING) or data[:SECTOR] != footer:
        raise Failure("the VHD's footer and its copy at the start differ, or its type is wrong")
    header_at, = struct.unpack_from(">Q", footer, 16)
    header = data[header_at:header_at + 1024]
    if header[:8] != b"cxsparse" or not sum_is_right(header, 36):
        raise Failure("the VHD's dynamic header is damaged")
    table_at, entries, bitmap_size, block_size = vhd_blocks(data)
    metadata_end = max(header_at + 1024, table_at + len(entries) * 4)
    blocks = sorted(entry * SECTOR for entry in entries if entry != UNALLOCATED)
    ends = [metadata_end] + [start + bitmap_size + block_size for start in blocks]
    for start, previous_end in zip(blocks, ends):
        if start < previous_end:
            raise Failure(f"the VHD's block at byte {start} overlaps what is before it")
    if ends[-1] > len(data) - SECTOR:
        raise Failure("the VHD's last block runs into the footer")


def digest_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_disk(check, path, pristine, parents, guests, work):
    """One of the checks under "after"; `pristine` is a copy of the image from before the run, `parents` has the
    digests of what its parents were then."""
    kind = check["check"]
    if kind == "vhd":
        check_vhd(path)
    elif kind == "unchanged":
        if differing_sectors(path, pristine) is not None:
            raise Failure("the image was to stay as it was, and changed")
    elif kind == "parents_unchanged":
        if not parents:
            raise Failure("the image has no parents")
        for parent, digest in parents.items():
            if digest_of(parent) != digest:
                raise Failure(f"{parent.name} is a parent, and changed")
    elif kind == "changed_only":
        span = differing_sectors(as_raw(path, work), as_raw(pristine, work))
        allowed = check["sectors"]
        if span is None:
            raise Failure("the guest wrote to its disk, and the image is as before")
        if span[0] < allowed[0] or span[1] > allowed[1]:
            raise Failure(f"sectors {span[0]} to {span[1]} changed, of which only {allowed[0]} to {allowed[1]} should")
    elif kind == "contains":
        expected = (guests / check["file"]).read_bytes()
        with open(as_raw(path, work), "rb") as image:
            image.seek(check["sector"] * SECTOR)
            if image.read(len(expected)) != expected:
                raise Failure(f"{check['file']} is not to be found at sector {check['sector']}")
    else:
        raise SystemExit(f"unknown check '{kind}'")


# --- runs -------------------------------------------------------------------------------------------------------------

def check_text(where, text, patterns):
    """Each pattern matches behind the one before it."""
    position = 0
    for pattern in patterns:
        found = re.compile(pattern, re.MULTILINE).search(text, position)
        if not found:
            raise Failure(f"{where}: nothing matches /{pattern}/" + (" behind the match before it" if position else ""))
        position = found.end()


def check_span(what, unit, value, span):
    if value < span.get("at_least", 0) or value > span.get("at_most", float("inf")):
        raise Failure(f"{what} came to {value:.2f} {unit}, expected {span}")


def become_nobody():
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)


def processor_seconds(pid):
    """What all threads of the process have used so far, by the scheduler's own count."""
    return sum(int(path.read_text().split()[0]) for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


class IdleWatch:
    """Measures what an idle guest costs, once a line has come over the serial port, and then sends Ctrl-C."""

    def __init__(self, wanted, serial):
        self.wanted, self.serial = wanted, serial
        self.phases = self.measure()
        self.due = 0.0
        self.share = None

    def measure(self):
        while not (self.serial.exists() and re.search(self.wanted["behind"], self.serial.read_text(errors="replace"))):
            yield 0.2
        yield SETTLING_SECONDS
        before, since = processor_seconds(self.process.pid), time.monotonic()
        yield self.wanted["seconds"]
        self.share = (processor_seconds(self.process.pid) - before) / (time.monotonic() - since)
        self.process.send_signal(signal.SIGINT)

    def look(self, process, now):
        if now >= self.due:
            self.process = process
            self.due = now + next(self.phases, float("inf"))

    def check(self):
        if self.share is None:
            raise Failure("the guest ended before it was idle for long enough")
        print(f"idle, the guest used {100 * self.share:.1f} % of a processor")
        if self.share > self.wanted["at_most"]:
            raise Failure(f"that is more than {100 * self.wanted['at_most']:.1f} %")


def run_vpc(run, vpc, guests, path, work):
    """Runs vpc to its end. Returns exit status, wall seconds, resource usage, serial text, stdout and stderr."""
    command = [str(vpc), "run", "--headless"]
    environment = dict(os.environ, XDG_DATA_HOME=str(work))
    serial = work / "serial.txt"
    machine = []
    if "time_limit" in run:
        command += ["--time-limit", str(run["time_limit"])]
        machine += ["--serial", f"file:{serial}"]
    if path is not None:
        machine += ["--" + run["disk"].get("drive", "hda"), str(path)]
    if "memory" in run:
        machine += ["--memory", str(run["memory"])]
    if "steps" in run:
        return run_steps(run, vpc, guests, machine + run.get("arguments", []), work)
    if run.get("registered"):
        create = [str(vpc), "create", "guest", *machine]
        print("$", " ".join(create), flush=True)
        subprocess.run(create, check=True, cwd=work, env=environment)
        machine = ["guest"]
    command += machine
    if "keys" in run:
        command += ["--keys", run["keys"]]
    if "screen" in run:
        command += ["--print-screen"]
    if "picture" in run:
        command += ["--screenshot", str(work / "screen.png")]
    command += run.get("arguments", [])
    print("$", " ".join(command), flush=True)
    patience = run.get("time_limit", 20) + 30
    before = time.monotonic()
    with open(work / "stdout.txt", "wb") as out, open(work / "stderr.txt", "wb") as err:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=work,
                                   env=environment,
                                   preexec_fn=become_nobody if run.get("as_nobody") else None)
        interrupt_at = before + run["interrupt_after"] if "interrupt_after" in run else None
        idle = IdleWatch(run["idle"], serial) if "idle" in run else None
        while True:
            finished, status, usage = os.wait4(process.pid, os.WNOHANG)
            if finished:
                break
            now = time.monotonic()
            if interrupt_at and now >= interrupt_at:
                process.send_signal(signal.SIGINT)
                interrupt_at = None
            if idle:
                idle.look(process, now)
            if now - before > patience:
                process.kill()
                os.wait4(process.pid, 0)
                raise Failure(f"did not end within {patience} s and had to be killed")
            time.sleep(0.01)
    seconds = time.monotonic() - before
    if idle:
        idle.check()
    process.returncode = os.waitstatus_to_exitcode(status)
    texts = [(work / name).read_text(errors="replace").replace("\r", "") if (work / name).exists() else ""
             for name in ("serial.txt", "stdout.txt", "stderr.txt")]
    return process.returncode, seconds, usage, *texts


def check_run(run, result, path, pristine, parents, guests, work):
    status, seconds, usage, serial, screen, errors = result
    if status != run.get("exit", 0):
        raise Failure(f"exit status {status} instead of {run.get('exit', 0)}")
    check_text("serial port", serial, run.get("serial", []))
    check_text("screen", screen, run.get("screen", []))
    check_text("stderr", errors, run.get("stderr", []))
    for pattern in run.get("forbidden", []):
        for where, text in (("serial port", serial), ("screen", screen), ("stderr", errors)):
            found = re.search(pattern, text, re.MULTILINE)
            if found:
                raise Failure(f"{where}: forbidden text '{found[0]}'")
    if "stderr_lines" in run and len(errors.splitlines()) != run["stderr_lines"]:
        raise Failure(f"{len(errors.splitlines())} lines on stderr instead of {run['stderr_lines']}")
    check_span("the run", "seconds", seconds, run.get("seconds", {}))
    check_span("CPU time", "seconds", usage.ru_utime + usage.ru_stime, run.get("cpu_seconds", {}))
    check_span("resident memory", "MiB", usage.ru_maxrss / 1024, run.get("rss_mib", {}))
    if "picture" in run:
        check_picture(run["picture"], work / "screen.png")
    for check in run.get("after", []):
        check_disk(check, path, pristine, parents, guests, work)


def run_case(run, vpc, guests, work):
    """Returns whether all went as described."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    if run.get("as_nobody"):
        if os.geteuid() == 0:
            try:
                subprocess.run([vpc, "--version"], preexec_fn=become_nobody, cwd=work, capture_output=True, check=True)
            except (OSError, subprocess.CalledProcessError):
                print("left out: an unprivileged user cannot reach the program here")
                return True
        else:
            run = dict(run, as_nobody=False)
    path = prepare_disk(run["disk"], vpc, guests, work) if "disk" in run else None
    for name in run.get("files", []):
        copy_of(guests, name, work)
    pristine, parents = None, {}
    if "after" in run:
        parents = {image: digest_of(image) for image in work.glob("*.vhd") if image != path}
        pristine = work / f"pristine{path.suffix}"
        subprocess.run(["cp", "--reflink=auto", "--sparse=always", path, pristine], check=True)
    result = None
    try:
        result = run_vpc(run, vpc, guests, path, work)
        check_run(run, result, path, pristine, parents, guests, work)
    except Failure as failure:
        print(f"FAILED: {run.get('description', '')}: {failure}")
        for name in ("serial.txt", "stdout.txt", "stderr.txt"):
            text = (work / name).read_text(errors="replace") if (work / name).exists() else ""
            if text.strip():
                print(f"--- end of {name}\n" + "\n".join(text.splitlines()[-40:]))
        print(f"--- files kept in {work}")
        return False
    print(f"as described, in {result[1]:.2f} s")
    shutil.rmtree(work)
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vpc", type=pathlib.Path, required=True, help="the program to test")
    parser.add_argument("--guests", type=pathlib.Path, required=True, help="where make-guests.sh put the images")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for the run's own files")
    parser.add_argument("description", type=pathlib.Path, help="the JSON file")
    options = parser.parse_args()
    failures = 0
    for number, run in enumerate(load_cases(options.description)):
        work = options.work.resolve() / f"{options.description.stem}-{number}"
        print(f"{options.description.stem}: {run.get('description', '')}")
        try:
            failures += not run_case(run, options.vpc.resolve(), options.guests.resolve(), work)
        except NotBuilt as reason:
            print(reason)
            return 1 if os.environ.get("VPC_GUESTS_REQUIRED") else SKIPPED
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
