#!/usr/bin/env python3
"""A guest with Debian's QEMU guest agent, run by `vpc start` and spoken to by vpc's commands.

Exit status: 0 all well, 1 something differs, 77 agent.img was not built (a failure instead when VPC_GUESTS_REQUIRED is
set)."""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

from guest_screen import Failure
from registered_machine import RegisteredMachine
from run_guest import SKIPPED, add_kernel_options

BOOT_SECONDS = 300
SECONDS = 60
CLOCK_ERROR = 60  # seconds that the guest's clock may be off when it was set


class Machine(RegisteredMachine):
    """Its guest has the agent, as far as the kernel's options let it."""

    def __init__(self, vpc, image, folder, kernel_options=""):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shutil.copyfile(image, folder / "disk.img")
        if kernel_options:
            add_kernel_options(folder / "disk.img", kernel_options)
        super().__init__(vpc, folder, "--memory", "128", "--boot", "c", "--hda", "disk.img", "--serial", "file:com1")
        self.start()

    def boots(self):
        return self.serial().count("GUEST-AGENT: ready")

    def wait_for_boots(self, count):
        self.wait_for(f"boot {count}", lambda: self.boots() == count, BOOT_SECONDS)

    def info(self):
        return json.loads(self.run("guest-info", "--json"))


def expect(what, value, wanted):
    if value != wanted:
        raise Failure(f"{what}: {value!r} instead of {wanted!r}")
    print(f"ok: {what}", flush=True)


def with_agent(machine):
    machine.wait_for_boots(1)
    info = machine.info()
    print(json.dumps(info))
    expect("name", info["computer_name"], "agents-den")
    expect("system", (info["os_id"], info["os_name"], info["os_version"]), ("vpc-guest", "VPC guest with an agent", "1"))
    expect("kernel", info["kernel_release"].startswith("6.1."), True)
    expect("version", info["agent_version"].startswith("7."), True)
    expect("users", sorted(info["users"]), ["ann", "bob"])
    expect("heart beat", info["heart_beat"], 100)
    # The guest says that it is 2001.
    machine.wait_for("the clock is set", lambda: abs(machine.info()["unix_time"] - time.time()) < CLOCK_ERROR, SECONDS)

    machine.run("logoff")
    expect("users after logoff", machine.info()["users"], [])
    again = machine.command("logoff")
    expect("a second logoff", (again.returncode, again.stderr),
           (1, "vpc: guest: Nobody is logged on in the guest\n"))

    machine.run("save")
    machine.start()
    expect("the agent after a saved state", machine.info()["computer_name"], "agents-den")

    before = machine.boots()
    machine.run("restart")
    expect("asked to restart", "GUEST-SHUTDOWN: -h -r +0" in machine.serial(), True)
    machine.wait_for_boots(before + 1)
    expect("users after restart", sorted(machine.info()["users"]), ["ann", "bob"])

    progress = [json.loads(line) for line in machine.run("shutdown", "--progress", "json").splitlines()]
    expect("progress ends", (progress[-1]["percent"], progress[-1]["error"]), (100, "0x00000000"))
    expect("asked to shut down", "GUEST-SHUTDOWN: -h -P +0" in machine.serial(), True)
    expect("state", machine.state(), "turned_off")
    expect("button", "GUEST-BUTTON: pressed" in machine.serial(), False)


def without_agent(machine):
    machine.wait_for_boots(1)
    ran = machine.command("guest-info")
    expect("no agent", ran.returncode, 1)
    machine.run("shutdown")
    expect("button", "GUEST-BUTTON: pressed" in machine.serial(), True)
    expect("state", machine.state(), "turned_off")


def with_nothing(machine):
    machine.wait_for_boots(1)
    ran = machine.command("shutdown", "--time-limit", "5")
    expect("status at the time limit", ran.returncode, 124)
    expect("state", machine.state(), "running")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vpc", required=True, type=lambda path: str(pathlib.Path(path).resolve()))
    parser.add_argument("--guests", required=True, type=pathlib.Path)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    options = parser.parse_args()
    image = options.guests / "agent.img"
    if not image.exists():
        print(f"{image} is not there; tests/guests/make-guests.sh makes it")
        return 1 if os.environ.get("VPC_GUESTS_REQUIRED") else SKIPPED
    status = 0
    for name, words, test in (("agent", "", with_agent), ("button", "noagent", without_agent),
                              ("nothing", "noagent nobutton", with_nothing)):
        machine = None
        try:
            machine = Machine(options.vpc, image, options.work.resolve() / name, words)
            test(machine)
        except (Failure, subprocess.SubprocessError, OSError, ValueError, KeyError) as problem:
            print(f"FAILED {name}: {problem}")
            status = 1
        finally:
            if machine:
                machine.command("turnoff")
    return status


sys.exit(main())
