#pragma once
#include <cstdint>
#include <random>
#include <vector>

namespace vpc::test {

/// Guest code that no compiler would write: random bytes between instructions picked for what they can break (segment
/// loads, far transfers, control, debug and model-specific registers, descriptor tables, string operations at the ends
/// of the address space, x87 and SSE), with operands that are often almost right.
class RandomProgram {
  public:
    explicit RandomProgram(std::uint64_t seed) : random_(seed) {}

    std::vector<std::uint8_t> code(std::size_t size);
    /// An address, a selector, a small number or nonsense.
    std::uint32_t value();
    std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(random_() % bound); }
    bool chance(unsigned percent) { return below(100) < percent; }

  private:
    void instruction(std::vector<std::uint8_t>& out);

    std::mt19937_64 random_;
};

}  // namespace vpc::test
