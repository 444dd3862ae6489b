// Whatever a guest does to the display adapter, by ports and by memory, at whatever the PCI bus has placed it, the
// picture can be drawn, the copy of a front end stays equal to it, and a saved state is loaded back.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <span>
#include <vector>

#include "core/log.h"
#include "core/physical_memory.h"
#include "core/port_bus.h"
#include "core/state_stream.h"
#include "core/virtual_clock.h"
#include "devices/vga/vga.h"

namespace {

using vpc::devices::Frame;
using vpc::devices::Vga;

/// The input, taken from its front; zeros when it is used up.
class Input {
  public:
    explicit Input(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
    bool empty() const { return bytes_.empty(); }
    std::uint32_t take(unsigned count) {
        std::uint32_t value = 0;
        for (unsigned i = 0; i < count && !bytes_.empty(); ++i) {
            value |= std::uint32_t{bytes_[0]} << (8 * i);
            bytes_ = bytes_.subspan(1);
        }
        return value;
    }

  private:
    std::span<const std::uint8_t> bytes_;
};

class Machine {
  public:
    void step(Input& input) {
        const std::uint32_t action = input.take(1);
        const unsigned size = 1u << (action >> 4) % 3;
        switch (action % 16) {
            case 0:
            case 1:
            case 2:
            case 3: {  // an indexed register, which is what reaches deepest
                static constexpr std::uint16_t kIndexed[] = {0x3C4, 0x3CE, 0x3D4, 0x3B4};
                ports_.write(kIndexed[action % 4], input.take(2), 2);
                break;
            }
            case 4:
                ports_.read(0x3DA, 1);
                ports_.write(0x3C0, input.take(1), 1);
                ports_.write(0x3C0, input.take(1), 1);
                break;
            case 5:
            case 6:
                ports_.write(0x1CE, input.take(1) % 12, 2);
                ports_.write(0x1CF, input.take(2), 2);
                break;
            case 7:
                ports_.write(port(input), input.take(size), size);
                break;
            case 8:
                ports_.read(port(input), size);
                break;
            case 9:
            case 10: {
                const std::uint32_t first = place(input);
                const std::uint32_t value = input.take(size);
                for (std::uint32_t i = 0; i < 1 + (action >> 6) * 300u; ++i) {  // busy windows become memory
                    memory_.write_bus(first + i * size, value + i, size);
                }
                break;
            }
            case 11:
                memory_.read_bus(place(input), size);
                break;
            case 12:
                run_posted();
                break;
            case 13: {
                const std::uint32_t where = input.take(1);
                vga_.place_frame_buffer(where < 0x40 ? std::nullopt : std::optional(where << 24));
                break;
            }
            case 14:
                look();
                break;
            default:
                other(input.take(1));
                break;
        }
    }
    void look() {
        vga_.refresh(picture_);
        const Frame frame = vga_.render();
        if (frame.width != picture_.frame.width || frame.height != picture_.frame.height ||
            frame.pixels != picture_.frame.pixels) {
            std::abort();
        }
        (void)vga_.text();
    }

  private:
    static std::uint16_t port(Input& input) {
        const std::uint32_t value = input.take(1);
        return static_cast<std::uint16_t>(value < 0xF0 ? 0x3B0 + value % 0x30 : 0x1CE + value % 4);
    }
    static std::uint32_t place(Input& input) {
        const std::uint32_t value = input.take(3);
        return (value & 0x800000) != 0 ? 0xE0000000 + value * 2 : 0xA0000 + value % 0x20000;
    }
    void run_posted() {
        for (const auto& work : std::exchange(posted_, {})) {
            work();
        }
    }
    void other(std::uint32_t what) {
        if (what % 4 == 0) {
            vga_.reset();
        } else if (what % 4 == 1) {
            vpc::StateStream saver = vpc::StateStream::saver();
            vga_.serialize(saver);
            const std::vector<std::uint8_t> saved = saver.bytes();
            vpc::StateStream loader = vpc::StateStream::loader(saved);
            vga_.serialize(loader);
            vpc::StateStream again = vpc::StateStream::saver();
            vga_.serialize(again);
            if (saved != again.bytes()) {
                std::abort();
            }
        } else {
            now_ += what * 100'000;
        }
    }

    vpc::Nanoseconds now_ = 0;
    vpc::PortBus ports_;
    vpc::PhysicalMemory memory_{1 << 20};
    vpc::VirtualClock clock_{[this] { return now_; }};
    std::vector<std::function<void()>> posted_;
    Vga vga_{ports_, memory_, clock_, [this](std::function<void()> work) { posted_.push_back(std::move(work)); }};
    Vga::Picture picture_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    vpc::log_category("memory")->set_level(spdlog::level::off);
    Machine machine;
    Input input({data, size});
    while (!input.empty()) {
        machine.step(input);
    }
    machine.look();
    return 0;
}
