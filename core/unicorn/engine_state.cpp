#include "core/unicorn/engine_state.h"

#include "core/unicorn/descriptor.h"

namespace vpc::unicorn {

void EngineState::refresh_hidden_flags() {
    const std::uint32_t control = cr(0);
    const bool protection = (control & cr0::kProtectionEnable) != 0;
    const bool code32 = (segment(kCs).attributes & attribute::kBig) != 0;
    const bool stack32 = (segment(kSs).attributes & attribute::kBig) != 0;
    // Flat 32-bit protected mode is the only case in which the engine may leave out segment bases.
    const bool flat =
        protection && !virtual_8086() && code32 && (segment(kDs).base | segment(kEs).base | segment(kSs).base) == 0;

    std::uint32_t flags =
        hidden_flags() & ~(hflag::kCode32 | hflag::kStack32 | hflag::kAddSegment | hflag::kProtected |
                           hflag::kMonitorCoprocessor | hflag::kEmulation | hflag::kTaskSwitched | hflag::kFxsave);
    flags |= code32 ? hflag::kCode32 : 0;
    flags |= stack32 ? hflag::kStack32 : 0;
    flags |= flat ? 0 : hflag::kAddSegment;
    flags |= protection ? hflag::kProtected : 0;
    flags |= (control & (cr0::kMonitorCoprocessor | cr0::kEmulation | cr0::kTaskSwitched)) << 8;
    flags |= (cr(4) & cr4::kOsFxsave) != 0 ? hflag::kFxsave : 0;
    set_hidden_flags(flags);
}

}  // namespace vpc::unicorn
