"""Runs a guest that is led by what its screen shows: a machine started in a process of its own, looked at by
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


def carry_out(machine, steps, deadline):
    """Returns the text on the screen after the last step."""
    text = ""
    for step in steps:
        print(f"waiting for /{step['see']}/", flush=True)
        while not re.search(step["see"], text := machine.screen(), re.MULTILINE):
            if time.monotonic() > deadline:
                raise Failure(f"the screen did not come to show /{step['see']}/, but:\n{text}")
            time.sleep(LOOK_EVERY)
        if "keys" in step:
            machine.call("type", MACHINE, step["keys"])
    return text


def run_steps(run, vpc, guests, options, work):
    """Returns exit status, wall seconds, resource usage, serial text, screen text and stderr."""
    before = time.monotonic()
    machine = StartedMachine(vpc, guests, work, options)
    try:
        text = carry_out(machine, run["steps"], before + run["time_limit"])
    finally:
        machine.call("turnoff", MACHINE)
    serial = (work / "serial.txt").read_text(errors="replace").replace("\r", "")
    return 0, time.monotonic() - before, resource.getrusage(resource.RUSAGE_CHILDREN), serial, text, ""
