#include "core/unicorn/state_layout_probe.h"

#include <fmt/format.h>
#include <unicorn/unicorn.h>

#include <cstring>
#include <functional>
#include <optional>
#include <vector>

namespace vpc::unicorn {
namespace {

/// One throw-away engine and what can be asked of it.
class Prober {
  public:
    Prober() {
        uc_open(UC_ARCH_X86, UC_MODE_32, &uc_);
        if (uc_ != nullptr) {
            uc_ctl_set_cpu_model(uc_, UC_CPU_X86_PENTIUM3);
            uc_context_alloc(uc_, &context_);
        }
    }
    ~Prober() {
        if (context_ != nullptr) {
            uc_context_free(context_);
        }
        if (uc_ != nullptr) {
            uc_close(uc_);
        }
    }
    Prober(const Prober&) = delete;
    Prober& operator=(const Prober&) = delete;

    bool usable() const { return uc_ != nullptr && context_ != nullptr; }
    uc_engine* engine() { return uc_; }

    template <typename T>
    void write(int id, const T& value) {
        uc_reg_write(uc_, id, &value);
    }

    /// The bytes that uc_context_save copies.
    std::vector<std::uint8_t> bytes() {
        uc_context_save(uc_, context_);
        const auto* first = reinterpret_cast<const std::uint8_t*>(context_);
        return {first, first + uc_context_size(uc_)};
    }

  private:
    uc_engine* uc_ = nullptr;
    uc_context* context_ = nullptr;
};

template <typename T>
std::optional<std::size_t> find(const std::vector<std::uint8_t>& bytes, const std::vector<T>& values,
                                std::size_t stride, std::size_t from) {
    const std::size_t span = stride * (values.size() - 1) + sizeof(T);
    for (std::size_t at = from; at + span <= bytes.size(); at += 4) {
        bool equal = true;
        for (std::size_t i = 0; i < values.size() && equal; ++i) {
            equal = std::memcmp(bytes.data() + at + stride * i, &values[i], sizeof(T)) == 0;
        }
        if (equal) {
            return at;
        }
    }
    return std::nullopt;
}

template <typename T>
T value_at(const std::vector<std::uint8_t>& bytes, std::size_t at) {
    T value{};
    if (at + sizeof value <= bytes.size()) {
        std::memcpy(&value, bytes.data() + at, sizeof value);
    }
    return value;
}

}  // namespace

tl::expected<StateLayout, std::string> find_state_layout() {
    const auto missing = [](const char* what) {
        return tl::unexpected(fmt::format("its saved state has no recognisable {}", what));
    };
    Prober probe;
    if (!probe.usable()) {
        return tl::unexpected(std::string("it does not start"));
    }

    // Everything that has a public name gets a marker. EFLAGS: CF, PF, AF, ZF, SF, DF, OF and ID.
    constexpr std::uint32_t kFlags = 0x00200CD7;
    const std::vector<std::uint64_t> general{0x5EED0A01, 0x5EED0A02, 0x5EED0A03, 0x5EED0A04};
    probe.write(UC_X86_REG_EAX, general[0]);
    probe.write(UC_X86_REG_ECX, general[1]);
    probe.write(UC_X86_REG_EDX, general[2]);
    probe.write(UC_X86_REG_EBX, general[3]);
    probe.write(UC_X86_REG_EIP, std::uint64_t{0x5EED0B01});
    probe.write(UC_X86_REG_EFLAGS, std::uint64_t{kFlags});
    probe.write(UC_X86_REG_LDTR, uc_x86_mmr{.selector = 0, .base = 0x5EED0C01, .limit = 0x11, .flags = 0});
    probe.write(UC_X86_REG_TR, uc_x86_mmr{.selector = 0, .base = 0x5EED0C02, .limit = 0x12, .flags = 0});
    probe.write(UC_X86_REG_GDTR, uc_x86_mmr{.selector = 0, .base = 0x5EED0C03, .limit = 0x17, .flags = 0});
    probe.write(UC_X86_REG_IDTR, uc_x86_mmr{.selector = 0, .base = 0x5EED0C04, .limit = 0x14, .flags = 0});
    probe.write(UC_X86_REG_CR2, std::uint64_t{0x5EED0D02});
    for (std::uint32_t i = 0; i < 3; ++i) {
        probe.write(UC_X86_REG_MSR, uc_x86_msr{.rid = 0x174 + i, .value = 0x5E01 + i});
    }
    std::vector<std::uint8_t> bytes = probe.bytes();

    StateLayout layout;
    const std::optional<std::size_t> registers = find(bytes, general, 8, 0);
    if (!registers) {
        return missing("general registers");
    }
    layout.context_header = *registers;
    const std::size_t start = *registers;  // all other offsets count from here
    const auto relative = [&](std::size_t absolute) { return absolute - start; };

    const auto eip = find<std::uint64_t>(bytes, {0x5EED0B01}, 8, start);
    if (!eip) {
        return missing("EIP");
    }
    layout.eip = relative(*eip);
    layout.eflags = layout.eip + 8;
    layout.cc_source = layout.eflags + 16;
    layout.cc_operation = layout.eflags + 32;
    layout.direction = layout.eflags + 36;
    layout.hflags = layout.eflags + 40;
    constexpr std::uint32_t kArithmetic = 0x8D5;
    if (value_at<std::uint32_t>(bytes, start + layout.cc_source) != (kFlags & kArithmetic) ||
        value_at<std::uint32_t>(bytes, start + layout.cc_operation) != 1 ||
        value_at<std::int32_t>(bytes, start + layout.direction) != -1 ||
        (value_at<std::uint32_t>(bytes, start + layout.eflags) & 0x00200002) != 0x00200002) {
        return missing("EFLAGS");
    }
    constexpr std::uint32_t kExpected = hflag::kCode32 | hflag::kStack32 | hflag::kCplMask;
    if ((value_at<std::uint32_t>(bytes, start + layout.hflags) & kExpected) != (hflag::kCode32 | hflag::kStack32)) {
        return missing("hidden flags");
    }

    constexpr std::size_t kSegmentSize = 24;
    const std::vector<std::uint64_t> tables{0x5EED0C01, 0x5EED0C02, 0x5EED0C03, 0x5EED0C04};
    const auto bases = find(bytes, tables, kSegmentSize, start);
    if (!bases || relative(*bases) < 6 * kSegmentSize + 8) {
        return missing("descriptor tables");
    }
    layout.segments = relative(*bases) - 8 - 6 * kSegmentSize;
    layout.cr = layout.segments + 10 * kSegmentSize;
    if (value_at<std::uint64_t>(bytes, start + layout.cr + 16) != 0x5EED0D02) {
        return missing("control registers");
    }
    const auto a20 = find<std::uint32_t>(bytes, {0xFFFFFFFF}, 4, start + layout.cr + 40);
    if (!a20 || *a20 > start + layout.cr + 200) {
        return missing("A20 mask");
    }
    layout.a20_mask = relative(*a20);

    const auto sysenter_cs = find<std::uint32_t>(bytes, {0x5E01}, 4, start);
    const auto sysenter = find<std::uint64_t>(bytes, {0x5E02, 0x5E03}, 8, start);
    if (!sysenter_cs || !sysenter) {
        return missing("SYSENTER registers");
    }
    layout.sysenter_cs = relative(*sysenter_cs);
    layout.sysenter_esp = relative(*sysenter);
    layout.sysenter_eip = layout.sysenter_esp + 8;

    // Loading a selector beyond the empty GDT raises #GP with the selector as error code; the engine then also keeps
    // the vector where -1 stood.
    constexpr std::uint64_t kCode = 0x1000;
    constexpr std::uint32_t kSelector = 0x7F8;
    static constexpr std::uint8_t kLoadDs[] = {0x66, 0xB8, 0xF8, 0x07, 0x8E, 0xD8, 0xF4};  // MOV AX,7F8h; MOV DS,AX
    uc_mem_map(probe.engine(), 0, 0x2000, UC_PROT_ALL);
    uc_mem_write(probe.engine(), kCode, kLoadDs, sizeof kLoadDs);
    const std::vector<std::uint8_t> before = probe.bytes();
    struct Seen {
        Prober* probe;
        std::vector<std::uint8_t> bytes;
    } seen{&probe, {}};
    uc_hook hook = 0;
    uc_hook_add(probe.engine(), &hook, UC_HOOK_INTR,
                reinterpret_cast<void*>(+[](uc_engine* uc, std::uint32_t, void* context) {
                    auto* all = static_cast<Seen*>(context);
                    all->bytes = all->probe->bytes();
                    uc_emu_stop(uc);
                }),
                &seen, 1, 0);
    uc_emu_start(probe.engine(), kCode, kCode + sizeof kLoadDs, 0, 0);
    if (seen.bytes.size() != before.size()) {
        return missing("exceptions");
    }
    for (std::size_t at = start; at + 4 <= before.size(); at += 4) {
        const auto old_value = value_at<std::uint32_t>(before, at);
        const auto new_value = value_at<std::uint32_t>(seen.bytes, at);
        if (new_value == kSelector && old_value != kSelector && layout.error_code == 0 && at > start + 1024) {
            layout.error_code = relative(at);
        } else if (old_value == 0xFFFFFFFF && new_value == 13 && layout.old_exception == 0) {
            layout.old_exception = relative(at);
        }
    }
    if (layout.error_code == 0 || layout.old_exception == 0) {
        return missing("error code");
    }
    return layout;
}

}  // namespace vpc::unicorn
