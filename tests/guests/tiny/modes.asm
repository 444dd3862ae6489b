; Sets every video mode of the VGA BIOS, fills its memory, and says so on port E9h, a line for each picture:
;
;     S mode                             a standard mode
;     V mode width height bpp pitch w    a VBE mode; w is 1 when it was filled through the window at A0000h, 0 when
;                                        through the linear frame buffer
;     DONE
;
; Numbers are hexadecimal, 16 bits. The picture must be looked at before the line's end is taken. What the memory is
; filled with, doublewords of their own index times 9E3779B1h, is what video_modes_test.cpp computes the pixels from.
%include "serial.inc"
SECTORS equ 6
BUFFER equ 0x3000 ; segment of what the VBE functions return
FONT equ 0x2000   ; segment of the font: row r of character c is c * 37 + r * 11
FACTOR equ 0x9E3779B1
start:
    mov ax, 0x0200 + SECTORS
    mov bx, 0x7E00
    mov cx, 2
    mov dx, 0x80
    int 0x13
    jc $
    jmp main
BOOT_SECTOR_END

main:
    cld
    in al, 0x92 ; A20
    or al, 2
    out 0x92, al
    mov ax, FONT
    mov es, ax
    xor di, di
    xor bx, bx ; BL: character, BH: row
.font:
    mov al, bl
    mov cl, 37
    mul cl
    mov dl, al
    mov al, bh
    mov cl, 11
    mul cl
    add al, dl
    stosb
    inc bh
    cmp bh, 16
    jb .font
    mov bh, 0
    inc bl
    jnz .font

    mov si, standard
.standard:
    lodsw ; AL: mode, AH: kind
    cmp al, 0xFF
    je vbe
    push si
    mov [mode], al
    mov [kind], ah
    mov ah, 0 ; twice: SeaVGABIOS programs the CRTC before it changes from monochrome ports to colour ones
    int 0x10
    movzx ax, byte [mode]
    int 0x10
    cmp byte [kind], 0
    jne .graphics
    push es
    mov ax, FONT
    mov es, ax
    xor bp, bp
    mov cx, 256
    xor dx, dx
    mov bx, 0x1000
    mov ax, 0x1110
    int 0x10
    pop es
    mov ah, 1 ; no cursor
    mov cx, 0x2000
    int 0x10
.graphics:
    pop si
    lodsb
    mov [planes_shown], al
    call colours
    xor edx, edx ; the doublewords' index
    mov al, [kind]
    cmp al, 3
    je .chained
    cmp al, 2
    je .planar
    mov ax, 0xB800
    cmp byte [mode], 7
    jne .windowed
    push dx
    mov dx, 0x3B4 ; where MDA underlines
    mov ax, 0x0D14
    out dx, ax
    pop dx
    mov ax, 0xB000
.windowed:
    mov cx, 0x4000 / 4
    call fill
    jmp .say
.chained:
    mov ax, 0xA000
    mov cx, 0x10000 / 4
    call fill
    jmp .say
.planar:
    mov cl, 0
.plane:
    mov ah, 1
    shl ah, cl
    push dx
    mov dx, 0x3C4
    mov al, 2
    out dx, ax
    pop dx
    push cx
    mov ax, 0xA000
    mov cx, 0x10000 / 4
    call fill
    pop cx
    inc cl
    cmp cl, 4
    jb .plane
.say:
    mov al, 'S'
    out 0xE9, al
    movzx ax, byte [mode]
    call number
    call end_line
    jmp .standard

vbe:
    mov ax, BUFFER
    mov es, ax
    xor di, di
    mov dword [es:di], 'VBE2'
    mov ax, 0x4F00
    int 0x10
    cmp ax, 0x004F
    jne done
    mov fs, [es:16]
    mov si, [es:14]
.next:
    mov ax, [fs:si]
    add si, 2
    cmp ax, 0xFFFF
    je done
    cmp ax, 0x100
    jb .next
    mov [mode], ax
    mov cx, ax
    mov ax, BUFFER
    mov es, ax
    mov di, 0x400
    mov ax, 0x4F01
    int 0x10
    cmp ax, 0x004F
    jne .next
    mov ax, [es:di]
    and ax, 0x0011 ; supported, and graphics
    cmp ax, 0x0011
    jne .next
    movzx eax, word [es:di + 16]
    mov [pitch], ax
    movzx ecx, word [es:di + 20]
    mov [height], cx
    mul ecx
    mov [bytes], eax
    mov ax, [es:di + 18]
    mov [width], ax
    movzx ax, byte [es:di + 25]
    mov [bits_per_pixel], ax
    mov eax, [es:di + 40]
    mov [frame_buffer], eax
    mov al, [es:di + 27]
    mov [model], al
    cmp al, 3
    je .through_window
    test byte [es:di], 0x80
    jz .through_window
    mov bx, [mode]
    or bx, 0x4000
    mov ax, 0x4F02
    int 0x10
    cmp ax, 0x004F
    jne .next
    call colours
    call fill_frame_buffer
    mov ax, 0
    call say_mode
.through_window:
    mov bx, [mode]
    mov ax, 0x4F02
    int 0x10
    cmp ax, 0x004F
    jne .next
    mov byte [planes_shown], 0x0F
    call colours
    xor bx, bx ; bank
.bank:
    push bx
    mov dx, bx
    mov ax, 0x4F05
    xor bx, bx
    int 0x10
    pop bx
    cmp byte [model], 3
    je .planes
    movzx edx, bx
    shl edx, 14
    mov ax, 0xA000
    mov cx, 0x10000 / 4
    call fill
    jmp .filled
.planes:
    mov cl, 0
.plane:
    mov ah, 1
    shl ah, cl
    mov dx, 0x3C4
    mov al, 2
    out dx, ax
    movzx edx, cl ; plane p's doublewords begin at p * 40000h
    shl edx, 18
    movzx eax, bx
    shl eax, 14
    add edx, eax
    push cx
    mov ax, 0xA000
    mov cx, 0x10000 / 4
    call fill
    pop cx
    inc cl
    cmp cl, 4
    jb .plane
.filled:
    inc bx
    movzx eax, bx
    shl eax, 16
    cmp eax, [bytes]
    jb .bank
    mov ax, 1
    call say_mode
    jmp .next

done:
    mov si, done_line
    call print
    mov si, done_line
.print:
    lodsb
    test al, al
    jz .halt
    out 0xE9, al
    jmp .print
.halt:
    hlt
    jmp .halt

; Doublewords of (EDX + n) * FACTOR into segment AX from 0 on, CX of them. EDX goes on behind them.
fill:
    push es
    mov es, ax
    xor di, di
.next:
    imul eax, edx, FACTOR
    stosd
    inc edx
    dec cx
    jnz .next
    pop es
    ret

; All of the frame buffer that the mode shows, through a segment of 4 GiB.
fill_frame_buffer:
    cli
    lgdt [gdt_pointer]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    mov bx, 8
    mov gs, bx
    and al, 0xFE
    mov cr0, eax
    sti
    mov ebx, [frame_buffer]
    mov ecx, [bytes]
    shr ecx, 2
    xor edx, edx
.next:
    imul eax, edx, FACTOR
    mov [gs:ebx + edx * 4], eax
    inc edx
    dec ecx
    jnz .next
    ret

; Attribute colour n is DAC colour n; DAC colour n is (n, 3n, 5n + 7), each modulo 64.
colours:
    mov dx, 0x3DA
    in al, dx
    mov dl, 0xBA
    in al, dx
    mov dl, 0xC0
    xor ax, ax
.palette:
    mov al, ah
    out dx, al
    out dx, al
    inc ah
    cmp ah, 16
    jb .palette
    mov al, 0x12 ; colour plane enable
    out dx, al
    mov al, [planes_shown]
    out dx, al
    mov al, 0x20
    out dx, al
    mov dl, 0xC8
    mov al, 0
    out dx, al
    inc dx
    xor bx, bx
.dac:
    mov al, bl
    and al, 63
    out dx, al
    mov al, bl
    add al, bl
    add al, bl
    and al, 63
    out dx, al
    mov al, bl
    shl al, 2
    add al, bl
    add al, 7
    and al, 63
    out dx, al
    inc bl
    jnz .dac
    ret

; The line of a VBE mode; AX: through the window.
say_mode:
    push ax
    mov al, 'V'
    out 0xE9, al
    mov ax, [mode]
    call number
    mov ax, [width]
    call number
    mov ax, [height]
    call number
    mov ax, [bits_per_pixel]
    call number
    mov ax, [pitch]
    call number
    pop ax
    call number
end_line:
    mov al, 10
    out 0xE9, al
    ret

number: ; a space and AX
    push ax
    mov al, ' '
    out 0xE9, al
    pop ax
    mov cx, 4
.digit:
    rol ax, 4
    push ax
    and al, 15
    cmp al, 10
    sbb al, 0x69 ; the classic way from 0-15 to a digit
    das
    out 0xE9, al
    pop ax
    loop .digit
    ret

; Mode; 0 text, 1 at B8000h in one piece, 2 planes at A0000h, 3 chained planes at A0000h; planes that show.
standard:
    db 0x00, 0, 0x0F, 0x01, 0, 0x0F, 0x02, 0, 0x0F, 0x03, 0, 0x0F, 0x07, 0, 0x0F
    db 0x04, 1, 0x03, 0x05, 1, 0x03, 0x06, 1, 0x01
    db 0x0D, 2, 0x0F, 0x0E, 2, 0x0F, 0x0F, 2, 0x05, 0x10, 2, 0x0F, 0x11, 2, 0x0F, 0x12, 2, 0x0F
    db 0x13, 3, 0x0F, 0xFF, 0
gdt_pointer:
    dw 15
    dd gdt
gdt:
    dq 0
    dq 0x00CF93000000FFFF
done_line: db "DONE", 10, 0
mode: dw 0
kind: db 0
planes_shown: db 0x0F
model: db 0
width: dw 0
height: dw 0
bits_per_pixel: dw 0
pitch: dw 0
bytes: dd 0
frame_buffer: dd 0
    times 512 * (SECTORS + 1) - ($ - $$) db 0
