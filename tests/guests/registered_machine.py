"""A registered machine in a folder of its own, as scripts use one: by vpc's commands."""
import json
import os
import re
import subprocess
import time

from guest_screen import Failure

NAME = "guest"
COMMAND_SECONDS = 300
LOOK_EVERY = 0.05  # seconds


class RegisteredMachine:
    """`folder` gets the machine's configuration, its sockets and what it sends to COM1; `options` are those of
    `vpc create`."""

    def __init__(self, vpc, folder, *options, com1="com1"):
        self.vpc, self.folder, self.com1 = str(vpc), folder, folder / com1
        (folder / "run").mkdir(exist_ok=True)
        self.environment = dict(os.environ, XDG_DATA_HOME=str(folder / "data"), XDG_RUNTIME_DIR=str(folder / "run"))
        self.run("create", *options)

    def start(self):
        self.run("start", "--headless")

    def command(self, command, *arguments):
        return subprocess.run([self.vpc, command, NAME, *arguments], cwd=self.folder, env=self.environment,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)

    def run(self, command, *arguments):
        ran = self.command(command, *arguments)
        if ran.returncode != 0:
            raise Failure(f"vpc {' '.join((command, NAME, *arguments))}: status {ran.returncode}: {ran.stderr.strip()}")
        return ran.stdout

    def begin(self, command):
        """Without waiting for its end."""
        return subprocess.Popen([self.vpc, command, NAME], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def state(self):
        return json.loads(self.run("show", "--json"))["state"]

    def process(self):
        listed = subprocess.run([self.vpc, "tasks", "--json"], cwd=self.folder, env=self.environment, capture_output=True,
                                text=True, timeout=COMMAND_SECONDS, check=True).stdout
        return int(json.loads(listed)[0]["id"].split(".")[0])

    def serial(self):
        """What came over COM1 since the machine's process was started, which begins the file anew."""
        return self.com1.read_text(errors="replace").replace("\r", "") if self.com1.exists() else ""

    def wait_for(self, what, condition, seconds):
        end = time.monotonic() + seconds
        while not (result := condition()):
            if time.monotonic() > end:
                raise Failure(f"{what}: not within {seconds} seconds; COM1: {self.serial()[-1000:]}")
            time.sleep(LOOK_EVERY)
        return result

    def wait_for_serial(self, expression, seconds):
        return self.wait_for(f"'{expression}' on COM1", lambda: re.search(expression, self.serial()), seconds)

    def wait_for_shell(self, seconds):
        """Until a Linux that was given `end=shell` takes what is typed: a shell that comes up throws away what it finds."""
        self.wait_for_serial("GUEST-DONE: OK ", seconds)

        def answers():
            self.run("type", "echo SHELL-$((40+2)) >/dev/ttyS0{ENTER}")
            time.sleep(0.5)
            return "SHELL-42" in self.serial()
        self.wait_for("an answer of the guest's shell", answers, seconds)
