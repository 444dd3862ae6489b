#!/usr/bin/env python3
"""Kills machines with SIGKILL at random moments while they save their state, and looks at what is left.

    kill_saves.py --vpc PROGRAM --guests FOLDER [--kills N] [--seed N]

A Linux guest whose RAM is full of noise goes on from a saved state, begins to save itself anew and is killed. Either the
new state is there, whole: then it is gone on from, and the noise must have the checksum that it had. Or there is none,
and nothing half either: the machine is off, as after a power failure. Ends with 77 (skipped) when the guest's image has
not been made.
"""
import argparse
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "guests"))
from guest_screen import Failure  # noqa: E402
from registered_machine import RegisteredMachine  # noqa: E402
from run_guest import SKIPPED, add_kernel_options  # noqa: E402

BOOT_SECONDS = 300
ANSWER_SECONDS = 120
NOISE_MIB = 40


class Machine(RegisteredMachine):
    """Its guest has a shell at the keyboard."""

    def __init__(self, vpc, image, folder):
        shutil.copyfile(image, folder / "disk.img")
        add_kernel_options(folder / "disk.img", "nobench end=shell console=tty0")
        super().__init__(vpc, folder, "--memory", "96", "--boot", "c", "--hda", "disk.img", "--serial", "file:com1")

    def noise(self, mark):
        """The checksum of the guest's noise."""
        self.run("type", f"echo {mark} $(md5sum /tmp/noise) >/dev/ttyS0{{ENTER}}")
        return self.wait_for_serial(rf"{mark} ([0-9a-f]{{32}}) ", ANSWER_SECONDS)[1]

    def files(self):
        return sorted(each.name for each in (self.folder / "data" / "vpc").iterdir())

    def kept(self):
        """What a saved machine consists of."""
        return [self.folder / "disk.img", self.folder / "data" / "vpc" / "guest.vsv"]


def kill_while_saving(machine, delay):
    """False: it was too late."""
    process = machine.process()
    save = machine.begin("save")
    time.sleep(delay)
    try:
        os.kill(process, signal.SIGKILL)
        killed = True
    except ProcessLookupError:
        killed = False
    save.wait(timeout=60)
    machine.wait_for("a killed machine rests", lambda: machine.state() in ("saved", "turned_off"), 30)
    return killed


def soak(machine, kills):
    machine.start()
    machine.wait_for_shell(BOOT_SECONDS)
    machine.run("type", f"dd if=/dev/urandom of=/tmp/noise bs=1M count={NOISE_MIB} 2>/dev/null{{ENTER}}")
    noise = machine.noise("BEGIN")
    began = time.monotonic()
    machine.run("save")
    longest = time.monotonic() - began
    reference = machine.folder / "reference"
    reference.mkdir()
    for file in machine.kept():
        shutil.copy2(file, reference / file.name)
    counts = {"new": 0, "none": 0, "too late": 0}
    rounds = 0
    while rounds < kills:
        for file in machine.kept():
            shutil.copy2(reference / file.name, file)
        machine.start()
        killed = kill_while_saving(machine, random.uniform(0, longest))
        rounds += killed
        state, files = machine.state(), machine.files()
        if files != ["guest.vmc"] + (["guest.vsv"] if state == "saved" else []):
            raise Failure(f"round {rounds}: {state}, and there is {files}")
        counts["too late" if not killed else "new" if state == "saved" else "none"] += 1
        if state == "saved":
            machine.start()
            if (now := machine.noise(f"ROUND{rounds}{'K' if killed else 'L'}")) != noise:
                raise Failure(f"round {rounds}: the guest's memory has the checksum {now} instead of {noise}")
            machine.run("turnoff")
    print(f"{rounds} kills within {longest:.2f} s: {counts}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vpc", required=True, type=lambda path: str(pathlib.Path(path).resolve()))
    parser.add_argument("--guests", required=True, type=pathlib.Path)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    options = parser.parse_args()
    image = options.guests.resolve() / "linux.img"
    if not image.exists():
        print(f"{image} is not there; tests/guests/make-guests.sh makes it")
        return SKIPPED
    random.seed(options.seed)
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="vpc-kill-") as folder:
        machine = Machine(options.vpc, image, pathlib.Path(folder))
        try:
            soak(machine, options.kills)
            return 0
        except (Failure, subprocess.SubprocessError, OSError, ValueError, KeyError) as problem:
            print(f"FAILED: {problem}")
            return 1
        finally:
            machine.command("turnoff")


sys.exit(main())
