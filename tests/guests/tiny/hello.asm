; Prints one line on COM1 and another on the screen, then halts with interrupts on: the shortest possible boot.
%include "serial.inc"
start:
    sti
    mov si, line
    call print
    mov si, line
.screen:
    lodsb
    test al, al
    jz .idle
    mov ah, 0x0E ; BIOS: teletype output
    mov bx, 7
    int 0x10
    jmp .screen
.idle:
    hlt
    jmp .idle
line: db "TINY-HELLO", 13, 10, 0
BOOT_SECTOR_END
