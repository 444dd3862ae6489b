; Triple fault: an empty interrupt table and a breakpoint. The machine resets, boots, and does it again, for ever.
%include "serial.inc"
start:
    mov si, line
    call print
    lidt [empty]
    int3
empty: dw 0
    dd 0
line: db "TINY-TRIPLE", 13, 10, 0
BOOT_SECTOR_END
