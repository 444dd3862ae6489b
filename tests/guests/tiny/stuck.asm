; Halts with interrupts off: nothing but a reset or the outside ends this.
%include "serial.inc"
start:
    cli
    mov si, line
    call print
.stuck:
    hlt
    jmp .stuck
line: db "TINY-STUCK", 13, 10, 0
BOOT_SECTOR_END
