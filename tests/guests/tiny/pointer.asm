; Finds and enables VMware's absolute pointer as its drivers do, waits for the mouse's packets, and prints what the
; pointer's queue holds: buttons, x, y, wheel.
%include "serial.inc"
%macro CALL_PORT 2 ; command, parameter
    mov ebx, %2
    mov cl, %1
    call door
%endmacro
start:
    cli
    call no_interrupts
    mov si, setup
    call tell_mouse
    CALL_PORT 10, 0
    cmp ebx, 0x564D5868
    jne failed
    CALL_PORT 41, 0x45414552
    CALL_PORT 40, 0
    cmp eax, 1
    jne failed
    CALL_PORT 39, 1
    cmp eax, 0x3442554A
    jne failed
    CALL_PORT 41, 0x53424152
    mov si, line
    call print
next:
    mov cx, 3 ; a packet of the mouse announces one of the pointer
.packet:
    push cx
    call poll
    pop cx
    loop .packet
.more:
    CALL_PORT 40, 0
    test ax, ax
    jz next
    CALL_PORT 39, 4
    push dx
    push cx
    push bx
    push ax
    mov cx, 4
.word:
    pop ax
    push ax
    mov al, ah
    call hex
    pop ax
    call hex
    mov al, ' '
    call put
    loop .word
    mov si, end
    call print
    jmp .more
failed:
    mov si, absent
    call print
    hlt
door:
    mov eax, 0x564D5868
    movzx ecx, cl
    mov edx, 0x5658
    in eax, dx
    ret
%include "i8042.inc"
setup: db 0xF3, 100, 0
line: db "TINY-POINTER", 13, 10, 0
absent: db "TINY-ABSENT", 13, 10, 0
end: db 13, 10, 0
BOOT_SECTOR_END
