// Whatever a guest does to the 82077AA and the 8237A pair behind it, while disks come and go and the host is late, ends
// without harm; at any moment the state can be saved and loaded.
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <span>
#include <vector>

#include "devices/i82077aa.h"
#include "devices/i8237a.h"
#include "tests/devices/ide_bench.h"
#include "tests/fuzz/fuzzed_machine.h"

namespace {

using namespace vpc;
using namespace vpc::devices;
using namespace vpc::devices::test;

class Machine final : public FuzzedMachine {
  public:
    explicit Machine(std::span<const std::uint8_t> input) : FuzzedMachine(input) {
        bench_.out(0xD6, 0xC0);
        bench_.out(0xD4, 0);
        bench_.out(0x3F2, 0x1C);
        io_.deferring = true;
        insert(0, 2880);
    }

  private:
    void insert(unsigned drive, std::uint64_t sectors) {
        auto image = std::make_shared<DiskImage>(sectors);
        image->bad = {19, 700};
        image->read_only = sectors == 720;
        fdc_.insert(drive, std::make_shared<MemoryDisk>(image));
    }

    void step() override {
        switch (next() % 12) {
            case 0:
                bench_.in(static_cast<std::uint16_t>(0x3F0 + next() % 8));
                break;
            case 1: {
                const auto port = static_cast<std::uint16_t>(0x3F0 + next() % 8);
                bench_.out(port, next());
                break;
            }
            case 2:
            case 3: {  // a command with what follows it
                const std::uint8_t count = next() % 10;
                for (unsigned i = 0; i < count; ++i) {
                    bench_.out(0x3F5, next());
                }
                break;
            }
            case 4: {  // a transfer of the start of the disk
                static constexpr std::uint8_t kCommands[] = {0xE6, 0xC5, 0x4D, 0x4A, 0xCC,
                                                             0xC9, 0xD1, 0x42, 0x56, 0xD9};
                bench_.out(0x3F5, kCommands[next() % std::size(kCommands)]);
                for (unsigned i = 0; i < 8; ++i) {
                    bench_.out(0x3F5, i == 4 ? 2 : next() % 24);
                }
                break;
            }
            case 5:
                for (unsigned i = next(); i != 0; --i) {
                    bench_.in(0x3F5);
                }
                break;
            case 6: {  // channel 2
                bench_.out(0x0C, 0);
                bench_.out(0x0B, next());
                for (const std::uint16_t port : {0x04, 0x04, 0x05, 0x05, 0x81, 0x0A}) {
                    bench_.out(port, next());
                }
                break;
            }
            case 7: {
                static constexpr std::uint16_t kFirst[] = {0x00, 0x08, 0x80, 0x88, 0xC0, 0xC8, 0xD0, 0xD8};
                const auto port = static_cast<std::uint16_t>(kFirst[next() % std::size(kFirst)] + next() % 8);
                (next() & 1) != 0 ? bench_.out(port, next()) : static_cast<void>(bench_.in(port));
                break;
            }
            case 8:
                bench_.advance(Nanoseconds{1} << (next() % 34));
                break;
            case 9:
                if (io_.pending() != 0) {
                    io_.run_one();
                }
                break;
            case 10:
                change();
                break;
            default:
                io_.run();
                bench_.run_for(20 * kMillisecond);
                check_state();
                break;
        }
    }

    void change() {
        static constexpr std::uint64_t kSizes[] = {320, 360, 640, 720, 1440, 2400, 2880, 5760};
        const std::uint8_t choice = next();
        const unsigned drive = choice & 1;
        switch (choice / 2 % 4) {
            case 0:
                insert(drive, kSizes[next() % std::size(kSizes)]);
                break;
            case 1:
                fdc_.eject(drive);
                break;
            case 2:
                for (Device* device : bench_.devices) {
                    device->reset();
                }
                break;
            default:
                check_state();  // with work in hand
                break;
        }
    }

    std::vector<std::uint8_t> save() override { return bench_.save(); }
    void load(const std::vector<std::uint8_t>& state) override { bench_.load(state); }

    Bench bench_;
    TestExecutor& io_ = bench_.add<TestExecutor>();
    I8237A& dma_ = bench_.add_device<I8237A>(bench_.ports, bench_.memory);
    I82077AA& fdc_ = bench_.add_device<I82077AA>(bench_.ports, bench_.clock, io_, dma_.channel(2), Line(),
                                                 std::array{FloppyDriveType::Mb2_88, FloppyDriveType::Mb1_2});
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Machine({data, size}).run();
    return 0;
}
