#include "guest.h"

#include <cstring>
#include <stdexcept>
#include <utility>

#include "core/unicorn/unicorn_cpu.h"

namespace vpc::test {
namespace {

// Segment attributes as in SegmentRegister.
constexpr std::uint16_t kFlatCode = 0xC09B;
constexpr std::uint16_t kFlatData = 0xC093;
constexpr std::uint16_t kSmallCode = 0x009B;
constexpr std::uint16_t kSmallData = 0x0093;
constexpr std::uint16_t kDpl3 = 0x60;
constexpr std::uint16_t kDpl1 = 0x20;
constexpr std::uint16_t kPresent = 0x80;

constexpr Nanoseconds kPatience = 2 * kSecond;
constexpr Nanoseconds kPollWindow = 100 * kMicrosecond;  // as the run loop

}  // namespace

Guest::Guest(const CpuModel& model) {
    auto made = make_cpu(model, {memory, ports, clock, [this] { ++floating_point_errors; }});
    if (!made) {
        throw std::runtime_error(made.error());
    }
    cpu = std::move(*made);
    begin(model);
}

Guest::Guest(const unicorn::EngineFacts& facts) {
    const CpuModel& model = default_cpu_model();
    auto made = unicorn::UnicornCpu::make(model, {memory, ports, clock, [this] { ++floating_point_errors; }}, facts);
    if (!made) {
        throw std::runtime_error(made.error());
    }
    cpu = std::move(*made);
    begin(model);
}

void Guest::begin(const CpuModel& model) {
    watchdog_ = std::make_unique<Kicker>([this] { cpu->request_stop(); });
    start = CpuState::after_reset(model.signature);
    for (unsigned vector = 0; vector < 256; ++vector) {
        store(handler_of(vector), {0xF4});  // HLT
    }
    store(kTaskCode, {0xF4});
}

Guest::~Guest() {
    watchdog_.reset();
}

void Guest::real_mode() {
    for (unsigned vector = 0; vector < 256; ++vector) {
        store32(vector * 4, handler_of(vector));  // segment 0
    }
    start.segments[kCs] = {.selector = 0x1000, .base = kCode, .limit = 0xFFFF, .attributes = 0x9B};
    start.eip = 0;
    start.general[kEsp] = kStack;
    start.idtr = {.base = 0, .limit = 0x3FF};
}

void Guest::protected_mode(unsigned cpl) {
    descriptor(kCode32, 0, 0xFFFFF, kFlatCode);
    descriptor(kData32, 0, 0xFFFFF, kFlatData);
    descriptor(kUserCode & ~3u, 0, 0xFFFFF, kFlatCode | kDpl3);
    descriptor(kUserData & ~3u, 0, 0xFFFFF, kFlatData | kDpl3);
    descriptor(kTssSelector, kTss, 0x67, 0x8B);
    descriptor(kConforming, 0, 0xFFFFF, kFlatCode | 4);
    descriptor(kCode16, 0, 0xFFFF, kSmallCode);
    descriptor(kData16, 0, 0xFFFF, kSmallData);
    descriptor(kTaskSelector, kTaskTss, 0x67, 0x89);
    descriptor(kTask16Selector, kTask16Tss, 0x2B, 0x81);
    descriptor(kAbsentData, 0, 0xFFFFF, kFlatData & ~kPresent);
    descriptor(kAbsentCode, 0, 0xFFFFF, kFlatCode & ~kPresent);
    descriptor(kRing1Code, 0, 0xFFFFF, kFlatCode | kDpl1);
    descriptor(kRing1Data, 0, 0xFFFFF, kFlatData | kDpl1);
    for (unsigned vector = 0; vector < 256; ++vector) {
        gate(vector, kInterruptGate32, kCode32, handler_of(vector), vector == 0x41 ? 3 : 0);
    }
    store32(kTss + 4, kInnerStack);  // ESP0
    store16(kTss + 8, kData32);      // SS0
    store16(kTss + 0x66, 0x68);      // the I/O permission bit map would begin behind the limit

    const bool user = cpl == 3;
    const auto dpl = static_cast<std::uint16_t>(cpl << 5);
    start.cr0 = cr0::kProtectionEnable | cr0::kExtensionType;
    start.gdtr = {.base = kGdt, .limit = kSpare + 7};
    start.idtr = {.base = kIdt, .limit = 256 * 8 - 1};
    start.tr = {.selector = kTssSelector, .base = kTss, .limit = 0x67, .attributes = 0x8B};
    start.ldtr = {};
    for (SegmentRegister& segment : start.segments) {
        segment = {.selector = user ? kUserData : kData32,
                   .limit = 0xFFFFFFFF,
                   .attributes = static_cast<std::uint16_t>(kFlatData | dpl)};
    }
    start.segments[kCs].selector = user ? kUserCode : kCode32;
    start.segments[kCs].attributes = static_cast<std::uint16_t>(kFlatCode | dpl);
    start.cpl = static_cast<std::uint8_t>(cpl);
    start.eip = kCode;
    start.general[kEsp] = user ? kUserStack : kStack;
}

void Guest::protected_mode_16() {
    protected_mode();
    descriptor(kCode16, kCode, 0xFFFF, kSmallCode);
    start.segments[kCs] = {.selector = kCode16, .base = kCode, .limit = 0xFFFF, .attributes = kSmallCode};
    for (const unsigned index : {kEs, kSs, kDs}) {
        start.segments[index] = {.selector = kData16, .base = 0, .limit = 0xFFFF, .attributes = kSmallData};
    }
    start.eip = 0;
}

void Guest::virtual_8086(unsigned iopl) {
    protected_mode();
    const auto segment = [](std::uint16_t selector) {
        return SegmentRegister{.selector = selector,
                               .base = static_cast<std::uint32_t>(selector) << 4,
                               .limit = 0xFFFF,
                               .attributes = 0xF3};
    };
    start.segments[kCs] = segment(0x1000);
    start.segments[kSs] = segment(0x900);
    start.segments[kEs] = segment(0x1111);
    start.segments[kDs] = segment(0x2222);
    start.segments[kFs] = segment(0x3333);
    start.segments[kGs] = segment(0x4444);
    start.eip = 0;
    start.general[kEsp] = 0x1000;
    start.cpl = 3;
    start.eflags = eflags::kVirtual8086 | eflags::kAlwaysOne | iopl << eflags::kIoplShift;
}

void Guest::paging(std::uint32_t rights) {
    store32(kPageDirectory, kPageTable | rights);
    for (std::uint32_t page = 0; page < 1024; ++page) {
        store32(kPageTable + 4 * page, page << 12 | rights);
    }
    start.cr3 = kPageDirectory;
    start.cr0 |= cr0::kPaging;
}

void Guest::descriptor(std::uint16_t selector, std::uint32_t base, std::uint32_t raw_limit, std::uint16_t attributes) {
    store32(kGdt + selector, base << 16 | (raw_limit & 0xFFFF));
    store32(kGdt + selector + 4, (base & 0xFF000000) | (base >> 16 & 0xFF) | (raw_limit & 0xF0000) |
                                     static_cast<std::uint32_t>(attributes) << 8);
}

void Guest::gate(unsigned vector, std::uint8_t type, std::uint16_t selector, std::uint32_t offset, unsigned dpl) {
    store32(kIdt + 8 * vector, static_cast<std::uint32_t>(selector) << 16 | (offset & 0xFFFF));
    store32(kIdt + 8 * vector + 4, (offset & 0xFFFF0000) | (type | dpl << 5) << 8);
}

void Guest::task32(std::uint32_t task_eflags) {
    store32(kTaskTss + 0x1C, start.cr3);
    store32(kTaskTss + 0x20, kTaskCode);
    store32(kTaskTss + 0x24, task_eflags);
    for (std::uint32_t i = 0; i < 8; ++i) {
        store32(kTaskTss + 0x28 + 4 * i, i == kEsp ? kTaskStack : 0xABCD0000 + i);
    }
    for (std::uint32_t i = 0; i < 6; ++i) {
        store16(kTaskTss + 0x48 + 4 * i, i == kCs ? kCode32 : kData32);
    }
    store16(kTaskTss + 0x60, 0);
}

void Guest::task16() {
    store16(kTask16Tss + 0x0E, kTaskCode);
    store16(kTask16Tss + 0x10, 2);
    for (std::uint32_t i = 0; i < 8; ++i) {
        store16(kTask16Tss + 0x12 + 2 * i, static_cast<std::uint16_t>(i == kEsp ? kTaskStack : 0xCD00 + i));
    }
    for (std::uint32_t i = 0; i < 4; ++i) {
        store16(kTask16Tss + 0x22 + 2 * i, i == kCs ? kCode16 : kData16);
    }
    store16(kTask16Tss + 0x2A, 0);
}

void Guest::store(std::uint32_t address, std::initializer_list<std::uint8_t> bytes) {
    memory.write(address, {bytes.begin(), bytes.size()});
}

void Guest::store16(std::uint32_t address, std::uint16_t value) {
    store(address, {static_cast<std::uint8_t>(value), static_cast<std::uint8_t>(value >> 8)});
}

void Guest::store32(std::uint32_t address, std::uint32_t value) {
    store16(address, static_cast<std::uint16_t>(value));
    store16(address + 2, static_cast<std::uint16_t>(value >> 16));
}

std::uint8_t Guest::load8(std::uint32_t address) const {
    return static_cast<std::uint8_t>(view_->read_bus(address, 1));
}

std::uint16_t Guest::load16(std::uint32_t address) const {
    return static_cast<std::uint16_t>(load8(address) | load8(address + 1) << 8);
}

std::uint32_t Guest::load32(std::uint32_t address) const {
    return load16(address) | static_cast<std::uint32_t>(load16(address + 2)) << 16;
}

CpuExit Guest::run() {
    cpu->set_state(start);
    return resume();
}

CpuExit Guest::resume() {
    const Nanoseconds deadline = VirtualClock::steady_host_time() + kPatience;
    CpuExit exit = CpuExit::Stopped;
    for (;;) {
        if (interrupt_ && cpu->can_take_interrupt()) {
            cpu->set_interrupt_request(false);
            cpu->deliver_interrupt(*std::exchange(interrupt_, std::nullopt));
        }
        const bool polls = interrupt_ && !cpu->announces_interrupt_window();
        watchdog_->arm(polls ? VirtualClock::steady_host_time() + kPollWindow : deadline);
        exit = cpu->run();
        const bool wakes = exit == CpuExit::Halted && interrupt_ && cpu->can_take_interrupt();
        if ((exit != CpuExit::Stopped && !wakes) || VirtualClock::steady_host_time() > deadline) {
            break;
        }
    }
    watchdog_->disarm();
    return exit;
}

void Guest::request_interrupt(std::uint8_t vector) {
    interrupt_ = vector;
    cpu->set_interrupt_request(true);
}

int Guest::handler() {
    const CpuState now = state();
    const std::uint32_t halt = now.segments[kCs].base + now.eip - 1;
    const bool inside = now.halted && halt >= kHandlers && halt <= handler_of(255) && halt % 16 == 0;
    return inside ? static_cast<int>((halt - kHandlers) / 16) : -1;
}

std::uint32_t Guest::stacked32(unsigned index) {
    const CpuState now = state();
    return load32(now.segments[kSs].base + now.general[kEsp] + 4 * index);
}

std::uint16_t Guest::stacked16(unsigned index) {
    const CpuState now = state();
    return load16(now.segments[kSs].base + (now.general[kEsp] & 0xFFFF) + 2 * index);
}

}  // namespace vpc::test
