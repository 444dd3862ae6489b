#!/usr/bin/env python3
"""Drives the windows of `vpc run` and `vpc start` under Xvfb with real input events, and looks at the pixels of the X
server's frame buffer.

Exit status: 0 all as it should be, 1 something differs, 77 a guest's image or a tool is missing (a failure instead when
VPC_GUESTS_REQUIRED is set)."""
import argparse
import json
import os
import pathlib
import re
import resource
import shutil
import struct
import subprocess
import sys
import time

from guest_screen import Failure, read_png, screen_lines
from run_guest import SKIPPED

SCREEN = (1600, 1200)
TOOLS = ["Xvfb", "openbox", "xdotool", "xwininfo"]
PATIENCE = 60  # seconds, for anything that has to happen
MESSAGE_WIDTH, MESSAGE_COLOUR = 592, bytes.fromhex("801010")
HOST_KEY = "108"  # right Alt by its evdev key code; by name xdotool presses left Alt, too


def expect(condition, what):
    if not condition:
        raise Failure(what)


def eventually(what, probe, patience=PATIENCE):
    """The first true value of `probe`."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        value = probe()
        if value:
            return value
        time.sleep(0.05)
    raise Failure(f"{what}: not within {patience} s")


class Display:
    """An X server of our own with a window manager; its frame buffer is a file."""

    def __init__(self, work):
        reader, writer = os.pipe()
        self.buffer = work / "Xvfb_screen0"
        self.server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writer), "-screen", "0", f"{SCREEN[0]}x{SCREEN[1]}x24", "-fbdir", str(work), "-nolisten", "tcp"],
            pass_fds=[writer], stderr=subprocess.DEVNULL)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            self.name = ":" + pipe.readline().strip()
        self.environment = {key: value for key, value in os.environ.items() if key not in ("WAYLAND_DISPLAY", "SDL_VIDEODRIVER", "SDL_VIDEO_DRIVER")}
        self.environment.update(DISPLAY=self.name, HOME=str(work), XDG_CONFIG_HOME=str(work))
        self.manager = subprocess.Popen(["openbox"], env=self.environment, stderr=subprocess.DEVNULL)
        eventually("a window manager", lambda: self.run("xdotool", "get_num_desktops", check=False))

    def run(self, *command, check=True):
        result = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if check and result.returncode != 0:
            raise Failure(f"{' '.join(command)}: {result.stderr.strip()}")
        return result.stdout if result.returncode == 0 else ""

    def pixels(self, x, y, width, height):
        """RGB bytes of a part of the screen."""
        data = self.buffer.read_bytes()
        header = struct.unpack(">25I", data[:100])  # an XWD file: X11/XWDFile.h
        start, stride = header[0] + header[19] * 12, header[12]
        rows = bytearray()
        for row in range(y, y + height):
            line = data[start + row * stride + x * 4:start + row * stride + (x + width) * 4]
            rgb = bytearray(width * 3)
            rgb[0::3], rgb[1::3], rgb[2::3] = line[2::4], line[1::4], line[0::4]
            rows += rgb
        return bytes(rows)

    def close(self):
        for process in (self.manager, self.server):
            process.terminate()
            process.wait()


class ShownMachine:
    """A machine's window."""

    def __init__(self, display, image, work):
        self.display, self.work, self.guests = display, work, image.parent
        shutil.copy(image, work / "disk.img")
        self.serial_file, self.picture = work / "serial.txt", work / "screen.png"
        for file in (self.serial_file, self.picture):
            file.unlink(missing_ok=True)
        self.window = None

    def find_window(self, name):
        self.window = eventually("a window", lambda: self.display.run("xdotool", "search", "--onlyvisible", "--name", name, check=False)).split()[-1]
        self.display.run("xdotool", "windowactivate", "--sync", self.window)

    def serial(self):
        return self.serial_file.read_bytes().decode(errors="replace") if self.serial_file.exists() else ""

    def wait_serial(self, pattern, start=0):
        """Waits for a match behind `start`; returns where it ends."""
        return start + eventually(f"serial text /{pattern}/", lambda: re.search(pattern, self.serial()[start:])).end()

    def xdotool(self, *arguments):
        self.display.run("xdotool", *arguments)

    def host(self, key):
        self.xdotool("keydown", HOST_KEY, "key", key, "keyup", HOST_KEY)

    def title(self):
        return self.display.run("xdotool", "getwindowname", self.window).strip()

    def place(self):
        """x, y, width and height of the window's inside."""
        text = self.display.run("xwininfo", "-id", self.window)
        return tuple(int(re.search(rf"{name}:\s+(-?\d+)", text)[1])
                     for name in ("Absolute upper-left X", "Absolute upper-left Y", "Width", "Height"))

    def pixels(self):
        return self.display.pixels(*self.place())

    def message(self):
        """The text of the message laid over the picture; empty if there is none."""
        x, y, width, height = self.place()
        x += (width - MESSAGE_WIDTH) // 2
        margin = self.display.pixels(x, y, 1, height)
        rows = 0
        while margin[rows * 3:rows * 3 + 3] == MESSAGE_COLOUR:
            rows += 1
        if rows <= 16:
            return ""
        text_width, text_height = MESSAGE_WIDTH - 16, rows - 16
        return "\n".join(screen_lines(text_width, text_height, self.display.pixels(x + 8, y + 8, text_width, text_height), self.guests))

    def wait_message(self, pattern):
        eventually(f"a message /{pattern}/", lambda: re.search(pattern, self.message()))

    def wait_no_message(self):
        eventually("a picture without a message", lambda: self.message() == "")

    def move_pointer(self, x, y):
        left, top, _, _ = self.place()
        self.xdotool("mousemove", str(left + x), str(top + y))

    def hide_pointer(self):
        self.xdotool("mousemove", str(SCREEN[0] - 1), str(SCREEN[1] - 1))

    def wait_still(self, seconds):
        """Until the window has changed and then shown the same for so long."""
        before, since = None, time.monotonic()

        def still():
            nonlocal before, since
            now = self.pixels()
            if now != before:
                before, since = now, time.monotonic()
            return len(set(before)) > 1 and time.monotonic() - since > seconds
        eventually("a picture that rests", still)


class Machine(ShownMachine):
    """A running `vpc run`."""

    def __init__(self, display, vpc, image, work, memory):
        super().__init__(display, image, work)
        with open(work / "stdout.txt", "wb") as out, open(work / "stderr.txt", "wb") as err:
            self.process = subprocess.Popen(
                [vpc, "run", "--memory", str(memory), "--hda", "disk.img", "--serial", f"file:{self.serial_file}", "--screenshot",
                 self.picture, "--print-screen", "--time-limit", "400"],
                cwd=work, env=display.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        self.find_window("^VPC")

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def turn_off(self):
        """By the host key and F4; returns the screen's text."""
        self.host("F4")
        eventually("the end of vpc", lambda: self.process.poll() is not None)
        errors = (self.work / "stderr.txt").read_text()
        expect(self.process.returncode == 0 and errors == "", f"vpc ended with {self.process.returncode}, saying: {errors}")
        return (self.work / "stdout.txt").read_text()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class StartedMachine(ShownMachine):
    """A machine named "tiny" that `vpc start` runs."""

    def __init__(self, display, vpc, image, work, memory):
        super().__init__(display, image, work)
        self.program = vpc
        self.environment = dict(display.environment, XDG_DATA_HOME=str(work / "data"), XDG_RUNTIME_DIR=str(work))
        shutil.rmtree(work / "data", ignore_errors=True)  # an earlier case's
        self.vpc("create", "tiny", "--memory", str(memory), "--hda", work / "disk.img", "--serial", f"file:{self.serial_file}")
        self.start()

    def vpc(self, *arguments):
        result = subprocess.run([self.program, *arguments], env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        expect(result.returncode == 0 and result.stderr == "", f"vpc {' '.join(map(str, arguments))} ended with {result.returncode}: {result.stderr}")
        return result.stdout

    def start(self):
        self.vpc("start", "tiny")
        self.find_window("^tiny - VPC")
        self.process = int(self.display.run("xdotool", "getwindowpid", self.window))

    def wait_end(self, state):
        """Not for the state alone, which is there before the process lets go of the machine."""
        eventually("the end of the machine's process", lambda: not pathlib.Path(f"/proc/{self.process}").exists())
        eventually(f"the state {state}", lambda: json.loads(self.vpc("show", "tiny", "--json"))["state"] == state)

    def kill(self):
        subprocess.run([self.program, "turnoff", "tiny"], env=self.environment, capture_output=True, check=False)


def scaled(pixels, width, height, factor):
    rows = []
    for row in range(height):
        line = pixels[row * width * 3:(row + 1) * width * 3]
        wide = b"".join(line[i:i + 3] * factor for i in range(0, len(line), 3))
        rows.append(wide * factor)
    return b"".join(rows)


def has_long_vertical(pixels, width, height):
    """Whether a column is lit over 100 lines: the frame of GRUB's menu."""
    for column in range(width):
        run = 0
        for lit in pixels[column * 3::width * 3][:height]:
            run = run + 1 if lit else 0
            if run > 100:
                return True
    return False


# --- what is tested ---------------------------------------------------------------------------------------------------

def shows_text_only(pixels, width, height):
    """Not GRUB's menu, and not the empty screen between it and the prompt, on which keys may be lost."""
    lines_of_text = len(pixels) - pixels.count(0) > 3000
    return lines_of_text and not has_long_vertical(pixels, width, height)


def typing_and_pixels(machine):
    """GRUB's prompt: typed text arrives, pause stops, and the window shows what --screenshot writes, pixel by pixel."""
    machine.hide_pointer()
    eventually("GRUB's menu", lambda: has_long_vertical(machine.pixels(), *machine.place()[2:]))
    machine.xdotool("key", "c")  # at once: the menu counts down and never rests before it starts its first entry
    eventually("GRUB's prompt", lambda: shows_text_only(machine.pixels(), *machine.place()[2:]))
    machine.wait_still(1)
    for text in ("echo ", "Typed-In ", "12345"):  # the BIOS keeps fifteen keys for a guest that is busy
        machine.xdotool("type", "--delay", "100", text)
        machine.wait_still(1)
    machine.xdotool("key", "Return")
    machine.wait_still(2)
    before = machine.cpu_seconds()
    machine.host("p")
    eventually("a title that says paused", lambda: "paused" in machine.title())
    time.sleep(0.5)
    pixels, (_, _, width, height) = machine.pixels(), machine.place()
    paused = machine.cpu_seconds()
    time.sleep(2)
    expect(machine.cpu_seconds() - paused < 0.4, "paused, the machine uses the processor")
    expect(paused > before - 1, "CPU time runs backwards")
    machine.host("p")
    eventually("a title that says running", lambda: "running" in machine.title())
    machine.host("p")
    eventually("a title that says paused", lambda: "paused" in machine.title())
    text = machine.turn_off()
    expect(re.search(r"^grub> echo Typed-In 12345$\n^Typed-In 12345$", text, re.MULTILINE), f"the guest's screen shows:\n{text}")
    shot = read_png(machine.picture)
    expect(shot[:2] == (width, height), f"the window has {width} x {height} pixels, the screenshot {shot[:2]}")
    expect(shot[2] == pixels, "the window's pixels differ from the screenshot's")


def keyboard_mouse_and_host_key(machine):
    """A guest that prints what keyboard and mouse send: capture, release, Ctrl+Alt+Del, full screen, sizes, reset."""
    machine.hide_pointer()
    at = machine.wait_serial("TINY-INPUT\r\n")
    machine.xdotool("key", "a", "Up", "F12")
    at = machine.wait_serial("k1E\r\nk9E\r\nkE0\r\nk48\r\nkE0\r\nkC8\r\nk58\r\nkD8\r\n", at)

    machine.move_pointer(300, 200)
    time.sleep(0.5)
    expect("m" not in machine.serial()[at:], "the mouse moved in the guest before it was captured")
    machine.xdotool("click", "1")
    eventually("a title that names the way out", lambda: "releases the mouse" in machine.title())
    machine.xdotool("mousemove_relative", "--", "7", "-5")
    at = machine.wait_serial("m08\r\nm07\r\nm05\r\nm00\r\n", at)
    machine.xdotool("mousemove_relative", "--", "-3", "4")
    at = machine.wait_serial("m38\r\nmFD\r\nmFC\r\nm00\r\n", at)
    machine.xdotool("click", "3")
    at = machine.wait_serial("m0A\r\nm00\r\nm00\r\nm00\r\nm08\r\nm00\r\nm00\r\nm00\r\n", at)
    machine.xdotool("click", "5")
    at = machine.wait_serial("m08\r\nm00\r\nm00\r\nm01\r\n", at)

    released = at
    machine.xdotool("key", HOST_KEY)
    eventually("a mouse that is free", lambda: "releases the mouse" not in machine.title())
    machine.xdotool("mousemove_relative", "--", "20", "20")
    machine.xdotool("key", "b")
    at = machine.wait_serial("k30\r\nkB0\r\n", at)
    expect(machine.serial()[released:at] == "k30\r\nkB0\r\n", "the host key or the released mouse reached the guest")

    machine.host("Delete")
    at = machine.wait_serial("k1D\r\nk38\r\nkE0\r\nk53\r\nk9D\r\nkB8\r\nkE0\r\nkD3\r\n", at)

    machine.hide_pointer()
    machine.wait_still(0.5)
    _, _, width, height = machine.place()
    expect((width, height) == (720, 400), f"the window has {width} x {height} pixels")
    plain = machine.pixels()
    machine.host("Return")
    eventually("the full screen", lambda: machine.place() == (0, 0, *SCREEN))
    machine.wait_still(0.5)
    full = machine.pixels()
    band = (SCREEN[1] - SCREEN[0] * 400 // 720) // 2  # lines above and below the picture
    below = full[-band * SCREEN[0] * 3:-4 * SCREEN[0] * 3]  # without the pointer's corner
    expect(not any(full[:band * SCREEN[0] * 3]) and not any(below), "something beside the picture")
    expect(any(full[band * SCREEN[0] * 3:(band + 60) * SCREEN[0] * 3]), "the picture is not where it should be")
    machine.host("Return")
    eventually("the window again", lambda: machine.place()[2:] == (720, 400))
    machine.wait_still(0.5)
    expect(machine.pixels() == plain, "back from the full screen the picture differs")

    machine.xdotool("windowmove", machine.window, "40", "40")
    machine.xdotool("windowsize", machine.window, "1440", "800")
    eventually("the new size", lambda: machine.place()[2:] == (1440, 800))
    machine.wait_still(0.5)
    expect(machine.pixels() == scaled(plain, 720, 400, 2), "at twice the size a pixel is not four")
    machine.xdotool("windowsize", machine.window, "1000", "400")
    eventually("the new size", lambda: machine.place()[2:] == (1000, 400))
    machine.wait_still(0.5)
    x, y, _, _ = machine.place()
    expect(machine.display.pixels(x + 140, y, 720, 400) == plain, "in a wider window the picture is not in the middle")

    at = len(machine.serial())
    machine.host("r")
    machine.wait_serial("TINY-INPUT\r\n", at)
    machine.turn_off()


def absolute_pointer(machine):
    """A guest that has found VMware's pointer hears where the host's is, without capture."""
    machine.hide_pointer()
    at = machine.wait_serial("TINY-POINTER\r\n")
    time.sleep(0.5)  # for the window to see what the guest wants
    machine.move_pointer(0, 0)
    machine.move_pointer(719, 399)
    at = machine.wait_serial("0000 FFFF FFFF 0000 \r\n", at)
    machine.move_pointer(360, 100)
    at = machine.wait_serial("0000 802D 4029 0000 \r\n", at)
    machine.xdotool("click", "1")
    at = machine.wait_serial("0020 802D 4029 0000 \r\n0000 802D 4029 0000 \r\n", at)
    machine.xdotool("click", "4")
    machine.wait_serial("0000 802D 4029 FFFF \r\n", at)
    expect("releases the mouse" not in machine.title(), "the mouse was captured")
    machine.turn_off()


def idle(machine):
    """An idle guest in a window costs next to nothing."""
    machine.wait_serial("TINY-HELLO")
    machine.wait_still(1)
    before = machine.cpu_seconds()
    time.sleep(4)
    used = (machine.cpu_seconds() - before) / 4
    print(f"idle: {100 * used:.1f} % of a core")
    expect(used < 0.25, f"an idle guest in a window uses {100 * used:.0f} % of a core")
    machine.turn_off()


def refuse_to_save(machine):
    """With a file size limit below the saved state's: the window says why the machine runs on."""
    before = resource.prlimit(machine.process, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    machine.host("F4")
    machine.wait_message(r"File\s+too\s+large[^\0]*\n\nThe machine is still on. To turn it off: vpc turnoff 'tiny'\n")
    resource.prlimit(machine.process, resource.RLIMIT_FSIZE, before)
    eventually("a title that says running", lambda: machine.title() == "tiny - VPC - running")
    at = len(machine.serial())
    machine.xdotool("key", "Escape")
    machine.wait_no_message()
    machine.xdotool("key", "a")
    machine.wait_serial("k1E\r\nk9E\r\n", at)
    expect("k01" not in machine.serial()[at:], "the Escape that took the message away reached the guest")


def started_machine(machine):
    """A machine in a process of its own: closing its window saves it, and it goes on where it was."""
    machine.hide_pointer()
    machine.wait_serial("TINY-INPUT\r\n")
    machine.xdotool("key", "a")
    machine.wait_serial("k1E\r\nk9E\r\n")
    machine.vpc("pause", "tiny")
    eventually("a title that says paused", lambda: machine.title() == "tiny - VPC - paused")
    machine.host("p")
    eventually("a title that says running", lambda: machine.title() == "tiny - VPC - running")
    refuse_to_save(machine)
    machine.wait_still(1)
    before = machine.pixels()
    machine.xdotool("key", "alt+F4")  # to the window manager, which asks the window to close
    machine.wait_end("saved")
    machine.start()
    machine.hide_pointer()
    eventually("the picture from before", lambda: machine.pixels() == before)
    at = len(machine.serial())
    machine.xdotool("key", "b")
    at = machine.wait_serial("k30\r\nkB0\r\n", at)
    machine.host("r")
    machine.wait_serial("TINY-INPUT\r\n", at)
    machine.host("F4")
    machine.wait_end("saved")


def discarding_machine(machine):
    """A machine that cannot be saved says so in its window, runs on, and is turned off from outside while it says so."""
    machine.vpc("turnoff", "tiny")
    machine.vpc("set", "tiny", "--undo", "true")
    settings, = (machine.work / "data").rglob("tiny.vmc")
    text = settings.read_text(encoding="utf-16")
    changed = re.sub(r"(<default_action[^>]*>)\d", r"\g<1>0", text)
    expect(changed != text, f"no undo action in the settings:\n{text}")
    settings.write_text(changed, encoding="utf-16")
    machine.serial_file.unlink()
    machine.start()
    machine.hide_pointer()
    at = machine.wait_serial("TINY-INPUT\r\n")

    machine.xdotool("key", "alt+F4")  # to the window manager, which asks the window to close
    machine.wait_message(r"^The machine is not saved, because its undo action is Discard\.\n\n.*: vpc turnoff 'tiny'\n")
    at = machine.wait_serial(r"k38\r\n(.|\n)*kB8\r\n", at)  # the Alt, held until the window manager took the keyboard
    machine.xdotool("key", "b")
    at = machine.wait_serial("k30\r\nkB0\r\n", at)
    expect(machine.message() != "", "a key to the guest has taken the message away")
    machine.move_pointer(300, 200)
    machine.xdotool("click", "1")
    machine.wait_no_message()
    machine.xdotool("key", "b")
    at = machine.wait_serial("k30\r\nkB0\r\n", at)
    expect("releases the mouse" not in machine.title(), "the click that took the message away captured the mouse")

    machine.host("F4")
    machine.wait_message("^The machine is not saved")
    start = time.monotonic()
    machine.vpc("turnoff", "tiny")
    expect(time.monotonic() - start < 5, f"turning off took {time.monotonic() - start:.1f} s")
    machine.wait_end("turned_off")
    expect(machine.window not in machine.display.run("xdotool", "search", "--name", "^tiny - VPC", check=False).split(), "the window is still there")


def colours(pixels):
    return len(set(zip(*[iter(pixels)] * 3)))


def graphical_installer(machine):
    """Debian's graphical installer: the mouse, with small steps from a corner, presses the button Continue."""
    machine.hide_pointer()
    eventually("a graphics mode", lambda: machine.place()[2:] == (800, 600), 240)
    x, y, _, _ = machine.place()
    eventually("a list of languages", lambda: colours(machine.display.pixels(x, y + 100, 800, 400)) > 20, 240)
    machine.wait_still(3)
    machine.move_pointer(400, 590)  # below the list
    machine.xdotool("click", "1")  # captures the mouse
    eventually("a title that names the way out", lambda: "releases the mouse" in machine.title())
    for _ in range(60):  # to the corner
        machine.xdotool("mousemove_relative", "--", "100", "100")
    for _ in range(22):  # so slowly that the guest does not accelerate it: one step never joins the next on its way
        machine.xdotool("mousemove_relative", "--", "-3", "-1")
        time.sleep(0.05)
    machine.wait_still(2)
    first = machine.display.pixels(x, y + 100, 800, 400)
    machine.xdotool("click", "1")
    eventually("another dialog", lambda: machine.display.pixels(x, y + 100, 800, 400) != first, 120)
    machine.wait_still(3)
    expect(colours(machine.display.pixels(x, y + 100, 800, 400)) > 20, "the second dialog is empty")


def without_display(vpc, guests, work):
    """No display, or none that can be reached: one line says so, and the machine runs headless."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER", "SDL_VIDEO_DRIVER")}
    inherited.update(XDG_RUNTIME_DIR=str(work), XDG_DATA_HOME=str(work / "data"))
    shutil.copy(guests / "hello.img", work / "disk.img")
    shutil.rmtree(work / "data", ignore_errors=True)

    def check(arguments, environment, errors):
        result = subprocess.run([vpc, *arguments], env={**inherited, **environment}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        expect(result.returncode == 0, f"vpc {arguments[0]} ended with {result.returncode}: {result.stderr}")
        expect(re.fullmatch(errors, result.stderr), f"vpc {arguments[0]} under {environment} says: {result.stderr}")

    run = ["run", "--hda", work / "disk.img", "--until-serial", "TINY-HELLO", "--time-limit", "60"]
    nowhere = {"DISPLAY": ":nowhere"}
    told = r"vpc: no window, running headless: no display can be reached, DISPLAY is ':nowhere'\n"
    check(run, {}, r"vpc: no window, running headless: there is no display.*\n")
    check(run, nowhere, told)
    check(["create", "tiny", "--hda", work / "disk.img"], nowhere, "")
    try:
        check(["start", "tiny"], nowhere, told)
    finally:
        check(["turnoff", "tiny"], nowhere, "")
    check(run, {"SDL_VIDEODRIVER": "offscreen", **nowhere}, "")
    check(run, {"SDL_VIDEODRIVER": "dummy"}, "")


CASES = [(typing_and_pixels, Machine, "grub-rescue-usb.img", 64), (keyboard_mouse_and_host_key, Machine, "input.img", 64),
         (absolute_pointer, Machine, "pointer.img", 64), (started_machine, StartedMachine, "input.img", 64),
         (discarding_machine, StartedMachine, "input.img", 64), (idle, Machine, "hello.img", 64),
         (graphical_installer, Machine, "installer-gtk.img", 768)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vpc", type=pathlib.Path, required=True, help="the program to test")
    parser.add_argument("--guests", type=pathlib.Path, required=True, help="where make-guests.sh put the images")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for the test's own files")
    parser.add_argument("case", nargs="*", help="names of cases; all unless given")
    options = parser.parse_args()
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    missing += [image for _, _, image, _ in CASES if not (options.guests / image).exists()]
    if missing:
        print(f"missing: {', '.join(missing)}; see setup.sh and make-guests.sh")
        return 1 if os.environ.get("VPC_GUESTS_REQUIRED") else SKIPPED
    vpc, guests, work = options.vpc.resolve(), options.guests.resolve(), options.work.resolve()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    failures = 0
    display = Display(work)
    try:
        for case, kind, image, memory in CASES:
            if options.case and case.__name__ not in options.case:
                continue
            machine = None
            try:
                machine = kind(display, vpc, guests / image, work, memory)
                case(machine)
                print(f"{case.__name__}: as it should be")
            except Failure as failure:
                failures += 1
                print(f"FAILED: {case.__name__}: {failure}")
                if machine:
                    print("--- end of serial.txt\n" + machine.serial()[-400:])
            finally:
                if machine:
                    machine.kill()
        if not options.case or "without_display" in options.case:
            without_display(vpc, guests, work)
    except Failure as failure:
        failures += 1
        print(f"FAILED: {failure}")
    finally:
        display.close()
    if not failures:
        shutil.rmtree(work)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
