#pragma once
#include <cstdint>
#include <span>
#include <string_view>

namespace vpc {

/// A processor the guest may find: what CPUID says and which instructions exist.
struct CpuModel {
    std::string_view name;         ///< for `--cpu`: "pentium3"
    std::string_view description;  ///< for people: "Intel Pentium III"
    std::uint32_t signature;       ///< family, model and stepping: CPUID.1:EAX, and EDX after reset
    std::uint32_t features;        ///< CPUID.1:EDX
    std::uint32_t highest_leaf;    ///< largest basic CPUID leaf; 0: the model has no CPUID worth asking
};

/// CPUID.1:EDX bits (Intel SDM volume 2, CPUID).
namespace feature {
inline constexpr std::uint32_t kFpu = 1u << 0;
inline constexpr std::uint32_t kDe = 1u << 2;
inline constexpr std::uint32_t kPse = 1u << 3;
inline constexpr std::uint32_t kTsc = 1u << 4;
inline constexpr std::uint32_t kMsr = 1u << 5;
inline constexpr std::uint32_t kPae = 1u << 6;
inline constexpr std::uint32_t kCx8 = 1u << 8;
inline constexpr std::uint32_t kSep = 1u << 11;
inline constexpr std::uint32_t kMtrr = 1u << 12;
inline constexpr std::uint32_t kPge = 1u << 13;
inline constexpr std::uint32_t kCmov = 1u << 15;
inline constexpr std::uint32_t kPat = 1u << 16;
inline constexpr std::uint32_t kMmx = 1u << 23;
inline constexpr std::uint32_t kFxsr = 1u << 24;
inline constexpr std::uint32_t kSse = 1u << 25;
}  // namespace feature

/// All models, oldest first.
std::span<const CpuModel> cpu_models();
/// Null when there is no model of that name.
const CpuModel* find_cpu_model(std::string_view name);
/// "pentium3".
const CpuModel& default_cpu_model();

struct CpuidResult {
    std::uint32_t eax = 0;
    std::uint32_t ebx = 0;
    std::uint32_t ecx = 0;
    std::uint32_t edx = 0;
};
/// What CPUID returns for `leaf`. Leaves above the highest return the highest one's values, as Intel's parts do.
CpuidResult cpuid(const CpuModel& model, std::uint32_t leaf);

}  // namespace vpc
