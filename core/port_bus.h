#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace vpc {

/// Two chips want the same ports or addresses. The text names both owners and the range.
class BusConflict : public std::logic_error {
  public:
    using std::logic_error::logic_error;
};

/// What a chip does on a range of ports. `offset` counts from the range's first port; `size` is 1, 2 or 4 bytes and
/// never more than the range's `widest`. Values use their low `size` bytes.
struct PortHandlers {
    std::function<std::uint32_t(std::uint16_t offset, unsigned size)> read;
    std::function<void(std::uint16_t offset, std::uint32_t value, unsigned size)> write;
    /// As read, without side effects: for debuggers and tests. Missing: the debugger sees open bus.
    std::function<std::uint32_t(std::uint16_t offset, unsigned size)> peek;
};

struct PortRange {
    std::string owner;  ///< shown in conflicts and traces: "8254", "PIIX4 IDE primary command"
    std::uint16_t first = 0;
    std::uint32_t count = 0;  ///< in ports; 65536 at most
    /// The widest access the chip understands, 1, 2 or 4. Wider ones, and ones that stick out of the range, are cut
    /// into bytes at consecutive ports, as the ISA bus does.
    unsigned widest = 1;
};

/// The 64 Ki I/O ports. Each port has at most one owner; what nobody owns reads as all ones, swallows writes and is
/// counted. Machine's thread only.
class PortBus {
  public:
    PortBus();
    PortBus(const PortBus&) = delete;
    PortBus& operator=(const PortBus&) = delete;
    ~PortBus();

    /// Holds a range for as long as it lives; the bus must outlive it. Movable; a moved-from or default-made claim
    /// holds nothing.
    class Claim {
      public:
        Claim() = default;
        Claim(Claim&& other) noexcept;
        Claim& operator=(Claim&& other) noexcept;
        ~Claim() { release(); }
        void release();
        explicit operator bool() const { return bus_ != nullptr; }

      private:
        friend class PortBus;
        Claim(PortBus* bus, std::uint16_t slot) : bus_(bus), slot_(slot) {}
        PortBus* bus_ = nullptr;
        std::uint16_t slot_ = 0;
    };

    /// Throws BusConflict when a port of the range has an owner: a wiring mistake, found when the board is built.
    [[nodiscard]] Claim claim(PortRange range, PortHandlers handlers);
    /// For ranges that the guest places (PCI base addresses): an empty claim on conflict, which is logged. The first
    /// owner keeps its ports.
    [[nodiscard]] Claim try_claim(PortRange range, PortHandlers handlers);

    std::uint32_t read(std::uint16_t port, unsigned size);
    void write(std::uint16_t port, std::uint32_t value, unsigned size);
    std::uint32_t peek(std::uint16_t port, unsigned size) const;

    /// The owner's name, or an empty string.
    std::string owner(std::uint16_t port) const;
    /// Accesses that nobody answered, since the bus was made.
    std::uint64_t unowned_reads() const { return unowned_reads_; }
    std::uint64_t unowned_writes() const { return unowned_writes_; }

  private:
    struct Slot;
    std::string conflict(const PortRange& range) const;
    void release(std::uint16_t slot);

    std::vector<std::uint16_t> slot_of_port_;  // 0: nobody
    std::vector<std::unique_ptr<Slot>> slots_;
    std::uint64_t unowned_reads_ = 0;
    std::uint64_t unowned_writes_ = 0;
};

}  // namespace vpc
