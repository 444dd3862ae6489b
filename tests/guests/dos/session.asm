; What programs under DOS did to a PC, in real mode, from a hard disk with floppies in drive A: reprograms the PIT, writes
; into its own code, loads code over code that has run, reads and writes both disks by INT 13h, waits for another
; floppy, and shows a split screen in mode X. Each part ends with a line on COM1 and on the screen.
%include "serial.inc"
SECTORS equ 6
BUFFER equ 0x3000  ; segment: what is read
PATTERN equ 0x3100 ; segment: what was written
OVERLAY equ 0x2000 ; segment: code that is loaded
OVERLAYS equ 3
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
    sti
    call timer
    mov si, timer_line
    call say
    call own_code
    mov si, own_code_line
    call say
    mov byte [drive], 0
    mov word [overlay_at], 2
    call overlays
    mov byte [drive], 0x80
    mov word [overlay_at], 20
    call overlays
    mov si, overlay_line
    call say
    mov byte [drive], 0
    mov cx, 79 << 8 | 18
    mov dh, 1
    call write_and_read
    mov byte [drive], 0x80
    mov cx, 30
    mov dh, 0
    call write_and_read
    mov si, write_line
    call say
    call other_floppy
    call mode_x
    mov si, done_line
    call print
    jmp $

failed: ; SI: what
    call say
    mov si, failed_line
    call say
    cli
    hlt

say: ; SI: a line for the screen and COM1
    push si
    call print
    pop si
.next:
    lodsb
    test al, al
    jz .done
    mov ah, 0x0E
    mov bx, 7
    int 0x10
    jmp .next
.done:
    ret

; --- the timer: mode 2, 1000 Hz, and a handler of our own for a hundred ticks -------------------------------------------
RATE equ 1193
timer:
    cli
    mov eax, [8 * 4]
    mov [bios_handler], eax
    mov word [8 * 4], tick
    mov word [8 * 4 + 2], 0
    mov al, 0x34
    out 0x43, al
    mov al, RATE & 0xFF
    out 0x40, al
    mov al, RATE >> 8
    out 0x40, al
    mov al, 0xE2 ; read back the status of counter 0
    out 0x43, al
    in al, 0x40
    and al, 0x3F
    cmp al, 0x34
    mov si, timer_line
    jne failed
    sti
.wait:
    hlt
    mov al, 0 ; latch
    out 0x43, al
    in al, 0x40
    mov ah, al
    in al, 0x40
    xchg al, ah
    cmp ax, RATE
    ja failed
    cmp word [ticks], 100
    jb .wait
    cli
    mov al, 0x34
    out 0x43, al
    xor al, al
    out 0x40, al
    out 0x40, al
    mov eax, [bios_handler]
    mov [8 * 4], eax
    sti
    ret
tick:
    push ax
    inc word [cs:ticks]
    mov al, 0x20
    out 0x20, al
    pop ax
    iret

; --- code that changes the instruction after the one that runs ----------------------------------------------------------
own_code:
    xor bx, bx
    mov cx, 1000
.next:
    mov [.changed + 1], cx
.changed:
    mov ax, 0
    add bx, ax
    loop .next
    cmp bx, 500500 & 0xFFFF ; 1 + 2 + … + 1000
    mov si, own_code_line
    jne failed
    ret

; --- code that is loaded over code, and changed where it lies -----------------------------------------------------------
overlays: ; overlay n of the drive puts n * 1111h + the drive's number into AX
    mov byte [rounds], 3
.round:
    mov word [number], 1
.next:
    mov ax, OVERLAY
    mov es, ax
    xor bx, bx
    mov cx, [overlay_at]
    add cx, [number]
    dec cx
    xor dh, dh
    mov dl, [drive]
    mov ax, 0x0201
    int 0x13
    mov si, overlay_line
    jc failed
    call OVERLAY:0
    mov bx, ax
    imul ax, [number], 0x1111
    mov cl, [drive]
    xor ch, ch
    add ax, cx
    cmp ax, bx
    jne failed
    mov cx, OVERLAY
    mov es, cx
    inc word [es:1]
    inc ax
    push ax
    call OVERLAY:0
    pop bx
    cmp ax, bx
    jne failed
    inc word [number]
    cmp word [number], OVERLAYS
    jbe .next
    dec byte [rounds]
    jnz .round
    ret

; --- a sector written and read back -------------------------------------------------------------------------------------
write_and_read: ; CX and DH: where, on [drive]
    mov ax, PATTERN
    mov es, ax
    xor di, di
.fill:
    imul ax, di, 77
    add al, [drive]
    stosw
    cmp di, 512
    jb .fill
    xor bx, bx
    mov dl, [drive]
    mov ax, 0x0301
    push cx
    push dx
    int 0x13
    pop dx
    pop cx
    mov si, write_line
    jc failed
    mov ax, BUFFER
    mov es, ax
    xor bx, bx
    mov ax, 0x0201
    int 0x13
    jc failed
    push ds
    mov ax, PATTERN
    mov ds, ax
    xor si, si
    xor di, di
    mov cx, 256
    repe cmpsw
    pop ds
    mov si, write_line
    jne failed
    ret

; --- another floppy -----------------------------------------------------------------------------------------------------
other_floppy:
    mov si, insert_line
    call say
.wait:
    mov dx, 0x3F2
    mov al, 0x1C ; drive A: selected, motor on
    out dx, al
    mov dx, 0x3F7
    in al, dx
    test al, 0x80 ; the disk was changed
    jz .wait
.read:
    xor ax, ax
    xor dx, dx
    int 0x13 ; reset
    mov ax, BUFFER
    mov es, ax
    mov ax, 0x0201
    xor bx, bx
    mov cx, 1
    xor dx, dx
    int 0x13
    jc .read ; the drive is empty, or the change is news to the BIOS
    push ds
    push es
    pop ds
    xor si, si
    mov es, si
    mov di, label
    mov cx, 12
    rep movsb
    pop ds
    mov si, label
    jmp say

; --- mode X: two pages of 320 x 200 in four planes, the second above the first --------------------------------------------
%macro SET 3 ; index port, index, value
    mov dx, %1
    mov ax, %3 << 8 | %2
    out dx, ax
%endmacro
PAGE equ 320 * 200 / 4
mode_x:
    mov ax, 0x13
    int 0x10
    SET 0x3C4, 0x04, 0x06 ; not chained
    SET 0x3D4, 0x17, 0xE3 ; byte addresses
    SET 0x3D4, 0x14, 0x00
    mov dx, 0x3C8
    xor al, al
    out dx, al
    inc dx
    xor cx, cx
.palette: ; n, 3 n, 5 n + 7
    mov al, cl
    out dx, al
    imul ax, cx, 3
    out dx, al
    imul ax, cx, 5
    add al, 7
    out dx, al
    inc cx
    cmp cx, 256
    jb .palette
    mov ax, 0xA000
    mov es, ax
    mov bp, 0 ; the plane
.plane:
    mov cx, bp
    mov ah, 1
    shl ah, cl
    mov al, 0x02 ; map mask
    mov dx, 0x3C4
    out dx, ax
    xor di, di
.first: ; offset + 64 * plane
    imul ax, bp, 64
    add ax, di
    stosb
    cmp di, PAGE
    jb .first
.second: ; 3 * offset + plane
    imul ax, di, 3
    add ax, bp
    stosb
    cmp di, 2 * PAGE
    jb .second
    inc bp
    cmp bp, 4
    jb .plane
    SET 0x3CE, 0x04, 2 ; read plane 2
    cmp byte [es:100], 100 + 128
    mov si, mode_x_line
    jne failed
    SET 0x3D4, 0x0C, (PAGE >> 8)
    SET 0x3D4, 0x0D, (PAGE & 0xFF)
    SET 0x3D4, 0x18, 199 ; line compare: its bits 8 and 9 are in the overflow and the maximum scan line register
    mov dx, 0x3D4
    mov al, 0x07
    out dx, al
    inc dx
    in al, dx
    and al, 0xEF
    mov ah, al
    dec dx
    push ax
    mov al, 0x11 ; the first eight registers are protected
    out dx, al
    inc dx
    in al, dx
    and al, 0x7F
    out dx, al
    dec dx
    pop ax
    mov al, 0x07
    out dx, ax
    mov al, 0x09
    out dx, al
    inc dx
    in al, dx
    and al, 0xBF
    out dx, al
    ret

timer_line: db "DOS-TIMER", 13, 10, 0
own_code_line: db "DOS-OWN-CODE", 13, 10, 0
overlay_line: db "DOS-OVERLAYS", 13, 10, 0
write_line: db "DOS-WRITE", 13, 10, 0
insert_line: db "DOS-INSERT another floppy", 13, 10, 0
mode_x_line: db "DOS-MODE-X", 13, 10, 0
done_line: db "DOS-DONE", 13, 10, 0
failed_line: db "DOS-FAILED", 13, 10, 0
ticks: dw 0
bios_handler: dd 0
number: dw 0
rounds: db 0
drive: db 0
overlay_at: dw 0
label: times 12 db 0
    db 13, 10, 0
    times (1 + SECTORS) * 512 - ($ - $$) db 0
    times 19 * 512 - ($ - $$) db 0
DRIVE equ 0x80
%include "overlays.inc"
