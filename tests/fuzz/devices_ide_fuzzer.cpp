// Whatever a guest does to the IDE function, its bus master and the disks and CD-ROM drives on its cables, by any order
// of register accesses, command packets and descriptors, with an executor that is late and media that come and go,
// ends without harm; at any moment the state can be saved and loaded.
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "devices/atapi_cdrom.h"
#include "tests/devices/ide_bench.h"
#include "tests/fuzz/fuzzed_machine.h"

namespace {

using namespace vpc;
using namespace vpc::devices;
using namespace vpc::devices::test;

constexpr std::uint32_t kTable = 0x1'0000;  // where descriptor tables are mostly put
constexpr std::uint64_t kDiscSectors = 400 * (AtapiCdrom::kBlockSize / disk::kSectorSize);

class Machine final : public FuzzedMachine {
  public:
    explicit Machine(std::span<const std::uint8_t> input) : FuzzedMachine(input) {
        bench_.add_disk(0, 0, 600)->bad = {7, 300, 599};
        const auto read_only = bench_.add_disk(0, 1, std::uint64_t{1} << 29);  // needs 48-bit addresses
        read_only->read_only = true;
        auto drive = std::make_unique<AtapiCdrom>(disc());
        cdrom_ = drive.get();
        bench_.ide.attach(1, 0, std::move(drive));
        bench_.add_disk(1, 1, 300)->flush_fails = true;
        bench_.out(0xC004, kTable, 4);
        bench_.out(0xC00C, kTable, 4);
        bench_.io.deferring = true;
    }

  private:
    static std::shared_ptr<disk::BlockDevice> disc() {
        auto image = std::make_shared<DiskImage>(kDiscSectors);
        image->bad = {400};
        image->read_only = true;
        return std::make_shared<MemoryDisk>(image);
    }
    unsigned size() { return 1u << next() % 3; }
    std::uint16_t port() {
        const std::uint8_t choice = next();
        const unsigned base = (choice & 0x80) != 0 ? 0x170 : 0x1F0;
        switch (choice % 32) {
            case 8:
                return static_cast<std::uint16_t>(base + 0x206);  // device control
            case 9:
            case 10:
            case 11:
            case 12:
            case 13:
            case 14:
            case 15:
                return static_cast<std::uint16_t>(IdeBench::kBusMaster + choice / 16);
            default:
                return static_cast<std::uint16_t>(base + choice % 8);
        }
    }

    void step() override {
        switch (next() % 12) {
            case 0:
                bench_.in(port(), size());
                break;
            case 1:
            case 2: {
                const std::uint16_t where = port();
                const unsigned bytes = size();
                bench_.out(where, next32(), bytes);
                break;
            }
            case 3: {  // a command with its registers
                const std::uint16_t base = (next() & 1) != 0 ? 0x170 : 0x1F0;
                bench_.out(base + 6u, 0xE0u | (next() & 0x1Fu));
                for (unsigned reg = 1; reg <= 5; ++reg) {
                    bench_.out(static_cast<std::uint16_t>(base + reg), next() % 8);
                }
                bench_.out(base + 7u, next());
                break;
            }
            case 4: {  // a packet, read by PIO or by DMA
                bench_.out(0x176, 0xA0);
                bench_.out(0x171, next() & 3);
                bench_.out(0x174, next());
                bench_.out(0x175, next());
                bench_.out(0x177, 0xA0);
                for (int i = 0; i < 6; ++i) {
                    const std::uint32_t low = next();
                    bench_.out(0x170, low | std::uint32_t{next()} << 8, 2);
                }
                break;
            }
            case 5: {  // much of the data port at once
                const std::uint16_t where = (next() & 1) != 0 ? 0x170 : 0x1F0;
                const bool out = (next() & 1) != 0;
                for (unsigned i = next() * 8u; i != 0; --i) {
                    out ? bench_.out(where, i, 4) : static_cast<void>(bench_.in(where, 4));
                }
                break;
            }
            case 6: {  // a descriptor: address, size, last
                const std::uint32_t at = kTable + next() % 16 * 8;
                std::uint8_t bytes[8];
                for (std::uint8_t& byte : bytes) {
                    byte = next();
                }
                if ((bytes[0] & 1) == 0) {  // within RAM
                    bytes[2] &= 0x0F;
                    bytes[3] = 0;
                }
                bench_.memory.write(at, bytes);
                break;
            }
            case 7:  // start or stop a bus master
                bench_.out((next() & 1) != 0 ? 0xC008 : 0xC000, next() & 9);
                break;
            case 8:
                bench_.config(next() & 0xFC, next32());
                break;
            case 9:
                if (bench_.io.pending() != 0) {
                    bench_.io.run_one();
                }
                break;
            case 10:
                change();
                break;
            default:
                bench_.io.run();
                check_state();
                break;
        }
    }

    void change() {
        switch (next() % 6) {
            case 0:
                cdrom_->insert(disc());
                break;
            case 1:
                cdrom_->eject();
                break;
            case 2:
                bench_.ide.reset();
                break;
            case 3:
                bench_.enable();
                break;
            case 4:
                bench_.advance(Nanoseconds{1} << (next() % 40));
                break;
            default:
                check_state();  // with work in hand
                break;
        }
    }

    std::vector<std::uint8_t> save() override { return bench_.save(); }
    void load(const std::vector<std::uint8_t>& state) override { bench_.load(state); }

    IdeBench bench_;
    AtapiCdrom* cdrom_ = nullptr;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Machine({data, size}).run();
    return 0;
}
