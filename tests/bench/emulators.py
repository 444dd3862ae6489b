"""Command lines of the emulators that bench_guests.py compares: each runs a disk image that stays as it is, without a
window, and prints what the guest sends to COM1."""
import pathlib
import shutil
import tempfile

HERE = pathlib.Path(__file__).resolve().parent

# Debian's Bochs has its debugger built in, which waits to be told "c". Its own words go to stdout, so COM1 goes to 3.
BOCHS_SHELL = 'exec "$@" 3>&1 >/dev/null <<END\nc\nEND'
BOCHS_HEADS, BOCHS_SECTORS = 16, 32  # the images are multiples of 256 KiB, as Bochs wants whole cylinders
BOCHS_VGABIOS = "/usr/share/vgabios/vgabios.bin"  # the default of Bochs 3.0 is not what Debian's file is called
V86_FIRMWARE = pathlib.Path("/usr/share/seabios")


def vpc_command(options, image, memory):
    return [options.vpc, "run", "--headless", "--undo", "--memory", str(memory), "--hda", image, "--serial", "stdio"]


def qemu_command(options, image, memory):
    return [options.qemu, "-accel", "tcg", "-smp", "1", "-m", str(memory), "-net", "none", "-display", "none",
            "-monitor", "none", "-serial", "stdio", "-snapshot", "-drive", f"file={image},format=raw"]


def bochs_command(options, image, memory):
    """Its clock counts instructions, about as many a second as it executes, and leaps over HLT. Of its displays rfb
    alone needs neither a terminal nor X; nobody has to look."""
    cylinders = image.stat().st_size // (BOCHS_HEADS * BOCHS_SECTORS * 512)
    changes = pathlib.Path(tempfile.gettempdir()) / "vpc-bench-bochs"  # Bochs adds a suffix, and unlinks it at once
    return ["sh", "-c", BOCHS_SHELL, "sh", options.bochs, "-q", "-f", "/dev/null", f"megs: {memory}",
            f"vgaromimage: file={BOCHS_VGABIOS}", "cpu: ips=50000000", "clock: sync=none", "boot: disk",
            "log: /dev/null", "panic: action=fatal",
            'display_library: rfb, options="timeout=0"', "com1: enabled=1, mode=file, dev=/dev/fd/3",
            f"ata0-master: type=disk, mode=volatile, path={image}, journal={changes}, "
            f"cylinders={cylinders}, heads={BOCHS_HEADS}, spt={BOCHS_SECTORS}"]


def v86_command(options, image, memory):
    return ["node", HERE / "v86_serial.mjs", options.v86, V86_FIRMWARE / "bios.bin",
            V86_FIRMWARE / "vgabios-stdvga.bin", str(memory), image]


EMULATORS = {"vpc": vpc_command, "qemu": qemu_command, "bochs": bochs_command, "v86": v86_command}

# The peers that are compared where they are installed, and in what. Bochs' clock makes its guest times meaningless,
# and Linux takes it minutes.
OPTIONAL = {"bochs": ("boot", "cpubench"), "v86": ("boot", "linux", "cpubench")}


def installed(emulator, options):
    if emulator == "bochs":
        return shutil.which(options.bochs) is not None
    if emulator == "v86":
        return shutil.which("node") is not None and (options.v86 / "build/libv86.mjs").exists()
    return True


def choose(bench, options):
    """The emulators a bench compares."""
    return [emulator for emulator in ([options.only] if options.only else EMULATORS)
            if emulator not in OPTIONAL or bench in OPTIONAL[emulator] and installed(emulator, options)]
