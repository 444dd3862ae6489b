; A loop of one instruction with interrupts off: the CPU never leaves it by itself.
%include "serial.inc"
start:
    cli
    mov si, line
    call print
    jmp $
line: db "TINY-SPIN", 13, 10, 0
BOOT_SECTOR_END
