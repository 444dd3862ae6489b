"""Runs a guest that is led by what it shows or sends: a machine started in a process of its own, looked at by
`vpc screenshot`, typed to by `vpc type`, and turned off in the end. How long anything takes does not matter."""
import os
import re
import resource
import subprocess
import time

from guest_screen import Failure, read_png, screen_lines

LOOK_EVERY = 0.5  # seconds
MACHINE = "guest"


class StartedMachine:
    """A registered machine of its own below `work`."""

    def __init__(self, vpc, guests, work, options):
        self.vpc, self.guests, self.work = vpc, guests, work
        self.environment = dict(os.environ, XDG_DATA_HOME=str(work))
        self.call("create", MACHINE, *options)
        self.call("start", MACHINE, "--headless")

    def call(self, command, *arguments):
        result = subprocess.run([str(self.vpc), command, *arguments], cwd=self.work, env=self.environment,
                                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        if result.returncode != 0:
            raise Failure(f"vpc {command} ended with {result.returncode}: {result.stderr.strip()}")

    def screen(self):
        picture = self.work / "screen.png"
        self.call("screenshot", MACHINE, str(picture))
        return "\n".join(screen_lines(*read_png(picture), self.guests))

    def serial(self):
        path = self.work / "serial.txt"
        return path.read_text(errors="replace").replace("\r", "") if path.exists() else ""


def carry_out(machine, steps, deadline):
    """Returns the text on the screen after the last step."""
    for step in steps:
        (where, pattern), = ((where, step[where]) for where in ("screen", "serial") if where in step)
        print(f"waiting for /{pattern}/ ({where})", flush=True)
        while not re.search(pattern, text := getattr(machine, where)(), re.MULTILINE):
            if time.monotonic() > deadline:
                raise Failure(f"{where}: nothing came to match /{pattern}/, but there was:\n{text}")
            time.sleep(LOOK_EVERY)
        for command, *arguments in step.get("calls", []):
            machine.call(command, MACHINE, *arguments)
        if "keys" in step:
            machine.call("type", MACHINE, step["keys"])
    return machine.screen()


def run_steps(run, vpc, guests, options, work):
    """Returns exit status, wall seconds, resource usage, serial text, screen text and stderr."""
    before = time.monotonic()
    machine = StartedMachine(vpc, guests, work, options)
    try:
        text = carry_out(machine, run["steps"], before + run["time_limit"])
    finally:
        machine.call("turnoff", MACHINE)
    return 0, time.monotonic() - before, resource.getrusage(resource.RUSAGE_CHILDREN), machine.serial(), text, ""
