; A floppy for session.asm: its name, twelve characters, and the overlays.
    db LABEL
    times 512 - ($ - $$) db 0
DRIVE equ 0
%include "overlays.inc"
