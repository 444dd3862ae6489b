; Prints every byte that keyboard and mouse send: k or m, and two digits. The mouse is made an IntelliMouse.
%include "serial.inc"
start:
    cli
    call no_interrupts
    mov si, setup
    call tell_mouse
    mov si, line
    call print
next:
    call poll
    push ax
    test ah, 0x20
    mov al, 'k'
    jz .from
    mov al, 'm'
.from:
    call put
    pop ax
    call hex
    mov si, end
    call print
    jmp next
%include "i8042.inc"
setup: db 0xF3, 200, 0xF3, 100, 0xF3, 80, 0xF3, 100, 0
line: db "TINY-INPUT", 13, 10, 0
end: db 13, 10, 0
BOOT_SECTOR_END
