#!/usr/bin/env python3
"""Pictures of guests' screens: reading PNG files, checking them, and reading the text off them.

As a program it prints the text on the PNG files named, which come after the folder of the guests' images."""
import functools
import hashlib
import pathlib
import struct
import sys
import zlib

ROM = pathlib.Path("/usr/share/seabios/vgabios-stdvga.bin")
CELL_HEIGHT = 16
UNIFONT = "unifont.hex"  # below the guests' images
# The letter A in the ROM's font, by which that is found: 65 * 16 bytes behind its start.
LETTER_A = bytes.fromhex("000010386cc6c6fec6c6c6c600000000")


class Failure(Exception):
    """A run or its traces differ from the description."""


def read_png(path):
    """Width, height and the pixels of an 8-bit RGB or RGBA picture, without its filters."""
    data = path.read_bytes()
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise Failure("the screenshot is no PNG file")
    position, compressed, header = 8, b"", None
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        body = data[position + 8:position + 8 + length]
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", body)
        elif kind == b"IDAT":
            compressed += body
        position += 12 + length
    width, height, depth, colour = header[:4]
    if depth != 8 or colour not in (2, 6) or header[6] != 0:
        raise Failure("the screenshot is not a plain 8-bit RGB or RGBA picture")
    step = 3 if colour == 2 else 4
    lines, pixels, above = zlib.decompress(compressed), bytearray(), bytes(width * step)
    for row in range(height):
        start = row * (width * step + 1)
        method, line = lines[start], bytearray(lines[start + 1:start + 1 + width * step])
        for i in range(len(line) if method else 0):
            left = line[i - step] if i >= step else 0
            corner = above[i - step] if i >= step else 0
            if method == 1:
                guess = left
            elif method == 2:
                guess = above[i]
            elif method == 3:
                guess = (left + above[i]) // 2
            elif method == 4:
                guess = min((left, above[i], corner), key=lambda value: abs(left + above[i] - corner - value))
            else:
                guess = 0
            line[i] = (line[i] + guess) & 0xFF
        above = bytes(line)
        pixels += b"".join(above[i:i + 3] for i in range(0, len(above), step))
    return width, height, bytes(pixels)


def check_picture(expected, path):
    if not path.exists():
        raise Failure("no screenshot was written")
    width, height, pixels = read_png(path)
    if "size" in expected and [width, height] != expected["size"]:
        raise Failure(f"the screenshot has {width} x {height} pixels instead of {expected['size']}")
    colours = len({pixels[i:i + 3] for i in range(0, len(pixels), 3)})
    if colours < expected.get("colours_at_least", 1):
        raise Failure(f"the screenshot shows {colours} colours only")
    digest = hashlib.sha256(pixels).hexdigest()
    if "sha256" in expected and digest != expected["sha256"]:
        raise Failure(f"the screenshot's pixels have the SHA-256 {digest} instead of {expected['sha256']}")


@functools.lru_cache(maxsize=None)
def glyphs(guests):
    """Printable ASCII characters by their sixteen rows of eight dots."""
    rom = ROM.read_bytes()
    start = rom.find(LETTER_A) - ord("A") * CELL_HEIGHT
    if start < 0:
        raise ValueError(f"{ROM} holds no 8x16 font")
    font = {}
    if (guests / UNIFONT).exists():
        with open(guests / UNIFONT, encoding="ascii") as lines:
            known = dict(line.strip().split(":") for line in lines)
        font = {bytes.fromhex(known[f"{code:04X}"]): chr(code) for code in range(32, 127)}
    font.update({rom[start + code * CELL_HEIGHT:start + (code + 1) * CELL_HEIGHT]: chr(code) for code in range(32, 127)})
    return font


@functools.lru_cache(maxsize=None)
def character(cell, guests):
    """The character that a cell's pixels, three bytes each, show in one colour on another."""
    background = cell[:3]
    rows = [[cell[at:at + 3] != background for at in range(row * 24, row * 24 + 24, 3)] for row in range(CELL_HEIGHT)]
    pattern = bytes(sum(0x80 >> dot for dot, lit in enumerate(row) if lit) for row in rows)
    font = glyphs(guests)
    return font.get(pattern) or font.get(bytes(byte ^ 0xFF for byte in pattern)) or "?"


def screen_lines(width, height, pixels, guests):
    """The lines of text on a screen in a text or graphics mode whose font is the VGA BIOS' 8x16 one, or GNU Unifont as
    far as `guests` has it. Other characters read as '?'. Linux' own font is the VGA BIOS' but for f, m, v, w, 0, M, T, V, W, X and Y."""
    cell_width = 9 if width == 720 else 8  # text modes have a ninth dot between characters
    stride = width * 3
    result = []
    for top in range(0, height - CELL_HEIGHT + 1, CELL_HEIGHT):
        starts = [top * stride + left * 3 for left in range(0, width - 7, cell_width)]
        cells = [b"".join(pixels[at + row * stride:at + row * stride + 24] for row in range(CELL_HEIGHT)) for at in starts]
        result.append("".join(character(cell, guests) for cell in cells).rstrip())
    return result


if __name__ == "__main__":
    for name in sys.argv[2:]:
        print("\n".join(screen_lines(*read_png(pathlib.Path(name)), pathlib.Path(sys.argv[1]))))
