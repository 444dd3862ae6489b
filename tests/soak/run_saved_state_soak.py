#!/usr/bin/env python3
"""Saves and restores real guests at random moments and checks what they compute, print and write.

    run_saved_state_soak.py --program saved_state_soak --guests FOLDER [--case NAME]... [--rounds N] [--seed N]

`program` does the saving and restoring. Of what a guest sends to COM1, every expression that is wanted has to match a
line behind the one before it, and none that is forbidden may match at all; disks that it wrote file systems to are
looked at by e2fsck. Ends with 77 (skipped) when a guest's image has not been made.
"""
import argparse
import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "guests"))
from run_guest import SKIPPED, add_kernel_options  # noqa: E402

# What Linux says of interrupts that got lost and of what waits for them.
LOST = [r"nobody cared", r"lost (interrupt|page write|ticks?)", r"irq \d+.*(disabl|lost)", r"[Tt]imed? ?out", r"stall",
        r"hung", r"soft lockup", r"EXT4-fs (error|warning)"]
LINUX = ["base/linux.json", "base/linux-boots.json", "base/linux-computes.json"]
# The kernel looks at both disks at the same time, so that either may be sda: $O has partitions, $N has none. Sums of
# numbers keep the echo of a command from being taken for what it prints.
DISKS = "for d in a b; do [ -b /dev/sd${d}1 ] && O=/dev/sd${d}1 || N=/dev/sd$d; done; "
# The first partition, which nobody writes to, on the second disk and back.
COPIES = ("for i in 1 2 3 4; do dd if=$O of=$N bs=512k iflag=direct oflag=direct 2>/dev/null; "
          "echo SUM-$i $(dd if=$N bs=512k count=118 iflag=direct 2>/dev/null | md5sum); done; echo COPIED-$((40+2)); "
          "poweroff -f")
# Files that are written, removed and read back.
FILES = ("mount -t ext4 $N /mnt && i=0; while [ $i -lt 60 ]; do cp /bin/gbench /mnt/f$i; sync; rm -f /mnt/f$((i-4)); "
         "i=$((i+1)); done; echo 3 >/proc/sys/vm/drop_caches; for i in 56 57 58 59; do cmp /bin/gbench /mnt/f$i && "
         "echo SAME-$i; done; umount /mnt; echo FILES-$((40+2)); poweroff -f")

CASES = {
    "text": {"image": "linux-dynamic.vhd", "described": LINUX},
    "vesa": {"image": "linux.img", "kernel_options": "vga=788", "described": LINUX, "moment": "graphics"},
    "dma": {"image": "linux.img", "kernel_options": "nobench end=shell", "described": LINUX[:1], "second_disk": 64,
            "copied": (1 << 20, 59 << 20), "interval": 150, "rounds": 80, "from": "GUEST-DONE: OK ",
            "answers": [("GUEST-DONE: OK ", DISKS + COPIES)], "wanted": [r"GUEST-DONE: OK ", r"^COPIED-42"]},
    "files": {"image": "linux.img", "kernel_options": "nobench end=shell", "described": LINUX[:1], "second_disk": 64,
              "ext4": True, "interval": 150, "rounds": 80, "from": "GUEST-DONE: OK ", "answers": [("GUEST-DONE: OK ", DISKS + FILES)],
              "wanted": [r"GUEST-DONE: OK ", *(rf"^SAME-{i}$" for i in range(56, 60)), r"^FILES-42$"]},
    "firmware": {"image": "hello.img", "memory": 16, "wanted": [r"^TINY-HELLO"], "until": "TINY-HELLO", "interval": 3,
                 "rounds": 20},
    "v86": {"image": "v86.img", "memory": 16, "wanted": [r"^V86 check=6EE8$"], "until": "V86 check=", "interval": 120,
            "rounds": 15, "moment": "V86 mode"},
    "bench": {"image": "cpubench-hd.img", "described": ["base/cpubench.json", "base/cpubench-pioread.json",
                                                        "base/cpubench-video.json"], "until": "CPUBENCH DONE",
              "interval": 200},
}


def prepare(case, guests, work):
    """The arguments that say what the machine is made of."""
    image = work / case["image"]
    shutil.copyfile(guests / case["image"], image)
    if "kernel_options" in case:
        add_kernel_options(image, case["kernel_options"])
    arguments = ["--hda", image]
    if "second_disk" in case:
        second = work / "second.img"
        with open(second, "wb") as file:
            file.truncate(case["second_disk"] << 20)
        if case.get("ext4"):
            subprocess.run(["mkfs.ext4", "-q", second], check=True)
        arguments += ["--hdb", second]
    return arguments


def problems_of(case, wanted, forbidden, lines, notes, work):
    position = 0
    if "copied" in case:
        start, size = case["copied"]
        original = (work / case["image"]).read_bytes()[start:start + size]
        if (work / "second.img").read_bytes()[:size] != original:
            yield "the second disk is no copy"
        digest = hashlib.md5(original).hexdigest()
        wanted = [*wanted[:-1], *(f"^SUM-{i} {digest} " for i in (1, 2, 3, 4)), wanted[-1]]
    for expression in wanted:
        found = next((at for at, line in enumerate(lines[position:], position) if re.search(expression, line)), None)
        if found is None:
            yield f"missing: {expression}"
        else:
            position = found
    yield from (f"forbidden: {line}" for expression in forbidden for line in lines if re.search(expression, line))
    if not re.search(r"soak: [1-9]\d* rounds", notes):
        yield "not saved even once"
    if "moment" in case and not re.search(rf" [1-9]\d* (in|with) {case['moment']}", notes):
        yield f"never saved: {case['moment']}"
    if case.get("ext4"):
        checked = subprocess.run(["e2fsck", "-fn", work / "second.img"], capture_output=True, text=True)
        if checked.returncode != 0:
            yield f"e2fsck: {checked.stdout} {checked.stderr}"


def run_case(name, options, work):
    case = CASES[name]
    wanted, forbidden, memory = [], list(LOST), case.get("memory", 64)
    for description in case.get("described", []):
        content = json.loads((TESTS / "guests" / description).read_text())
        wanted += content.get("serial", [])
        forbidden += content.get("forbidden", [])
    wanted += case.get("wanted", [])
    command = [options.program, *prepare(case, options.guests, work), "--memory", memory,
               "--interval", case.get("interval", 400), "--rounds", options.rounds or case.get("rounds", 30),
               "--seed", options.seed, "--time-limit", 600]
    if "from" in case:
        command += ["--from", case["from"]]
    if "until" in case:
        command += ["--until", case["until"]]
    for words, line in case.get("answers", []):
        command += ["--answer", words, line]
    began = time.monotonic()
    run = subprocess.run([str(word) for word in command], capture_output=True, timeout=900)
    lines = run.stdout.decode("utf-8", "replace").replace("\r", "").split("\n")
    notes = run.stderr.decode("utf-8", "replace")
    problems = [f"exit status {run.returncode}"] if run.returncode != 0 else []
    problems += problems_of(case, wanted, forbidden, lines, notes, work)
    print(f"{name}: {time.monotonic() - began:.0f} s\n{notes}", end="", flush=True)
    if problems:
        print("\n".join(lines))
    for problem in problems:
        print(f"PROBLEM {name}: {problem}", flush=True)
    return not problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, type=pathlib.Path)
    parser.add_argument("--guests", required=True, type=pathlib.Path)
    parser.add_argument("--case", action="append", choices=CASES, help="default: all")
    parser.add_argument("--rounds", type=int, help="instead of each case's own number")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    options = parser.parse_args()
    names = options.case or list(CASES)
    for name in names:
        if not (options.guests / CASES[name]["image"]).exists():
            print(f"{options.guests / CASES[name]['image']}: not there; tests/guests/make-guests.sh makes it")
            return SKIPPED
    print(f"seed {options.seed}", flush=True)
    good = True
    for name in names:
        with tempfile.TemporaryDirectory(prefix="vpc-soak-") as folder:
            good &= run_case(name, options, pathlib.Path(folder))
    return 0 if good else 1


sys.exit(main())
