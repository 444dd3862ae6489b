#pragma once
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

namespace vpc::devices::test {

/// Chips that are led by a fuzzer's input, a step at a time until it is used up; at the end, and whenever a step asks
/// for it, their state must come back from being saved as it was.
class FuzzedMachine {
  public:
    explicit FuzzedMachine(std::span<const std::uint8_t> input) : input_(input) {}
    virtual ~FuzzedMachine() = default;
    FuzzedMachine(const FuzzedMachine&) = delete;
    FuzzedMachine& operator=(const FuzzedMachine&) = delete;

    void run() {
        while (!input_.empty()) {
            step();
        }
        check_state();
    }

  protected:
    /// Zero behind the end.
    std::uint8_t next() {
        if (input_.empty()) {
            return 0;
        }
        const std::uint8_t byte = input_.front();
        input_ = input_.subspan(1);
        return byte;
    }
    std::uint32_t next32() {
        std::uint32_t value = 0;
        for (int i = 0; i < 4; ++i) {
            value = value << 8 | next();
        }
        return value;
    }
    void check_state() {
        const std::vector<std::uint8_t> before = save();
        load(before);
        if (save() != before) {
            std::abort();
        }
    }

  private:
    virtual void step() = 0;
    virtual std::vector<std::uint8_t> save() = 0;
    virtual void load(const std::vector<std::uint8_t>& state) = 0;

    std::span<const std::uint8_t> input_;
};

}  // namespace vpc::devices::test
