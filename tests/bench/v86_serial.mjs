// Runs a disk image under v86 and prints what the guest sends to COM1. Changes to the disk stay in memory.
//
//     node v86_serial.mjs V86-PACKAGE BIOS VGABIOS MEMORY-MIB IMAGE
import { readFileSync, writeSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

if (process.argv.length !== 7) {
    console.error("usage: node v86_serial.mjs V86-PACKAGE BIOS VGABIOS MEMORY-MIB IMAGE");
    process.exit(2);
}
const [v86Package, bios, vgaBios, memory, image] = process.argv.slice(2);

// v86 takes ArrayBuffers, and a small file's Buffer is only a part of one.
function contents(file) {
    const buffer = readFileSync(file);
    return { buffer: buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength) };
}

const { V86 } = await import(pathToFileURL(resolve(v86Package, "build/libv86.mjs")));
const machine = new V86({
    wasm_path: resolve(v86Package, "build/v86.wasm"),
    memory_size: memory * 1024 * 1024,
    bios: contents(bios),
    vga_bios: contents(vgaBios),
    hda: contents(image),
    autostart: true,
});
// Written at once: the reader stamps the lines with the time they arrive at.
machine.add_listener("serial0-output-byte", (byte) => writeSync(1, Uint8Array.of(byte)));
