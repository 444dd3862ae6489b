#include "core/cpu_state.h"

#include "core/state_stream.h"

namespace vpc {
namespace {

void serialize_segment(StateStream& stream, SegmentRegister& segment) {
    stream.field(segment.selector);
    stream.field(segment.base);
    stream.field(segment.limit);
    stream.field(segment.attributes);
}

}  // namespace

CpuState CpuState::after_reset(std::uint32_t signature) {
    constexpr std::uint16_t kRealModeData = 0x93;
    constexpr std::uint16_t kRealModeCode = 0x9B;
    CpuState state;
    state.general[kEdx] = signature;
    state.eip = 0xFFF0;
    for (SegmentRegister& segment : state.segments) {
        segment = {.selector = 0, .base = 0, .limit = 0xFFFF, .attributes = kRealModeData};
    }
    state.segments[kCs] = {.selector = 0xF000, .base = 0xFFFF0000, .limit = 0xFFFF, .attributes = kRealModeCode};
    state.ldtr = {.limit = 0xFFFF, .attributes = 0x82};
    state.tr = {.limit = 0xFFFF, .attributes = 0x8B};
    state.gdtr.limit = 0xFFFF;
    state.idtr.limit = 0xFFFF;
    state.cr0 = cr0::kCacheDisable | cr0::kNotWriteThrough | cr0::kExtensionType;
    state.debug[6] = 0xFFFF0FF0;
    state.debug[7] = 0x400;
    return state;
}

void CpuState::serialize(StateStream& stream) {
    stream.section("cpu", 1, [&] {
        stream.field(general);
        stream.field(eip);
        stream.field(eflags);
        for (SegmentRegister& segment : segments) {
            serialize_segment(stream, segment);
        }
        serialize_segment(stream, ldtr);
        serialize_segment(stream, tr);
        stream.field(gdtr.base);
        stream.field(gdtr.limit);
        stream.field(idtr.base);
        stream.field(idtr.limit);
        stream.field(cr0);
        stream.field(cr2);
        stream.field(cr3);
        stream.field(cr4);
        stream.field(debug);
        stream.field(cpl);
        stream.field(interrupt_shadow);
        stream.field(halted);
        stream.field(a20);
        stream.field(st);
        stream.field(fpu_control);
        stream.field(fpu_status);
        stream.field(fpu_tags);
        stream.field(xmm);
        stream.field(mxcsr);
        stream.field(sysenter_cs);
        stream.field(sysenter_esp);
        stream.field(sysenter_eip);
        stream.field(time_stamp_offset);
        if (cpl > 3) {
            stream.refuse("a privilege level above 3");
        }
    });
}

}  // namespace vpc
