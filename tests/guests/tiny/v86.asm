; A task in virtual 8086 mode: computes for 40 ticks of the timer, one after the other, and prints the sum. The timer's
; interrupts leave it for a handler in ring 0 and come back; without them it would never end.
%include "serial.inc"
TASK_STATE equ 0x20000 ; a TSS and its I/O permission bitmap, all ports allowed
GATES equ 0x10000      ; the IDT
TABLE equ 0x3000       ; a segment that the task adds to
TICKS equ 40
MULTIPLIER equ 25173
INCREMENT equ 13849
number equ 0x8000 ; off the code's page
sum equ 0x8002
ticks equ 0x8004
start:
    cli
    cld
    mov dx, 3
.clear: ; 64 KiB each for gates, task state and table
    mov ax, dx
    shl ax, 12
    mov es, ax
    xor di, di
    xor eax, eax
    mov cx, 0x4000
    rep stosd
    dec dx
    jnz .clear ; EAX stays 0
    mov word [number], 1
    mov [sum], ax
    mov [ticks], ax
    mov ax, GATES >> 4
    mov es, ax
    mov cx, 256
.gate: ; 32-bit interrupt gates; all but the timer's end the guest
    mov ax, fault
    stosw
    mov eax, 0x8E000008
    stosd
    xor ax, ax
    stosw
    loop .gate
    mov word [es:8 * 8], tick ; IRQ 0, where the firmware has put it
    mov al, 0xFE
    out 0x21, al
    mov al, 0xFF
    out 0xA1, al
    lgdt [descriptors_register]
    lidt [gates_register]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp 8:protected
bits 32
protected:
    mov eax, 0x10
    mov ds, eax
    mov ss, eax
    mov esp, 0x7000
    mov dword [TASK_STATE + 4], esp ; for interrupts
    mov word [TASK_STATE + 8], ax
    mov byte [TASK_STATE + 0x66], 0x68 ; the bitmap is behind it
    mov al, 0x18
    ltr ax
    xor eax, eax
    mov ecx, 4
.segment: ; GS, FS, DS, ES
    push eax
    loop .segment
    push eax ; SS
    push dword 0x6C00
    push dword 0x23202 ; VM, IOPL 3, IF
    push eax ; CS
    push dword task
    iretd
tick: ; DS is nothing here
    push eax
    inc word [ss:ticks]
    mov al, 0x20
    out 0x20, al
    pop eax
    iretd
fault:
    mov dx, 0x3F8
    mov al, '!'
    out dx, al
    hlt
bits 16
task:
    mov bp, TICKS
.tick:
    xor cx, cx
.compute:
    mov ax, TABLE
    mov es, ax
    imul ax, [number], MULTIPLIER
    add ax, INCREMENT
    mov [number], ax
    pushf
    mov bx, ax
    and bx, 0x0FFE
    add [es:bx], ax
    mov dx, [es:bx]
    popf ; the carry of the addition before
    adc [sum], dx
    loop .compute
    mov ax, [ticks]
.wait:
    cmp ax, [ticks]
    je .wait
    dec bp
    jnz .tick
    mov cx, 4
    mov bx, digits_text
.digit:
    rol word [sum], 4
    mov al, [sum]
    and al, 0x0F
    cmp al, 10
    sbb al, 0x69 ; to ASCII, as it was done when DAS was new
    das
    mov [bx], al
    inc bx
    loop .digit
    mov si, line
    call print
    jmp $
align 4
descriptors:
    dq 0
    dq 0x00CF9A000000FFFF ; 08h: code, 4 GiB
    dq 0x00CF92000000FFFF ; 10h: data, 4 GiB
    dq 0x000089020000206A ; 18h: the task state
descriptors_register:
    dw $ - descriptors - 1
    dd descriptors
gates_register:
    dw 256 * 8 - 1
    dd GATES
line: db "V86 check="
digits_text: db "....", 13, 10, 0
BOOT_SECTOR_END
