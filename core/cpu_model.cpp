#include "core/cpu_model.h"

#include <algorithm>
#include <array>

namespace vpc {
namespace {

using namespace feature;

// Features this PC cannot give are left out of every model: no local APIC, no virtual-8086 extensions (VME), no
// machine check, no debug extensions that stop at I/O addresses.
constexpr std::uint32_t k486 = kFpu;
constexpr std::uint32_t kPentium = k486 | kPse | kTsc | kMsr | kCx8;
constexpr std::uint32_t kPentium2 = kPentium | kMmx | kPae | kSep | kMtrr | kPge | kCmov | kPat | kFxsr;
constexpr std::uint32_t kPentium3 = kPentium2 | kSse;

// Signatures: Intel AP-485, table "Intel486 and subsequent processor signatures".
constexpr std::array<CpuModel, 4> kModels{{
    {"486", "Intel 486 DX4", 0x0480, k486, 1},
    {"pentium", "Intel Pentium with MMX technology", 0x0543, kPentium | kMmx, 1},
    {"pentium2", "Intel Pentium II", 0x0652, kPentium2, 2},
    {"pentium3", "Intel Pentium III", 0x0673, kPentium3, 2},
}};

}  // namespace

std::span<const CpuModel> cpu_models() {
    return kModels;
}

const CpuModel* find_cpu_model(std::string_view name) {
    const auto found =
        std::find_if(kModels.begin(), kModels.end(), [&](const CpuModel& model) { return model.name == name; });
    return found != kModels.end() ? &*found : nullptr;
}

const CpuModel& default_cpu_model() {
    return kModels.back();
}

CpuidResult cpuid(const CpuModel& model, std::uint32_t leaf) {
    leaf = std::min(leaf, model.highest_leaf);
    switch (leaf) {
        case 0:  // "GenuineIntel"
            return {.eax = model.highest_leaf, .ebx = 0x756E6547, .ecx = 0x6C65746E, .edx = 0x49656E69};
        case 1:
            return {.eax = model.signature, .edx = model.features};
        default:  // cache descriptors: 4 KiB and 4 MiB TLBs, 16 KiB L1 caches, 512 KiB L2 (a Katmai's)
            return {.eax = 0x03020101, .edx = 0x0C040843};
    }
}

}  // namespace vpc
