#pragma once
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "tasks/virtual_machine.h"
#include "tests/disk/temporary_folder.h"

namespace vpc::tasks::testing {

/// A BIOS of 64 KiB that sends 0, 1, 2 … on COM1 for ever, from a counter in RAM: whoever listens notices a guest that
/// was set back, jumped or repeated anything.
inline std::vector<std::uint8_t> counting_bios() {
    constexpr std::array<std::uint8_t, 30> kCode{
        0x31, 0xC0,                    // XOR AX,AX
        0x8E, 0xD8,                    // MOV DS,AX
        0xC6, 0x06, 0x00, 0x05, 0x00,  // MOV BYTE [500h],0
        0xBA, 0xFD, 0x03,              // next: MOV DX,3FDh
        0xEC,                          // IN AL,DX
        0xA8, 0x20,                    // TEST AL,20h (THRE)
        0x74, 0xFB,                    // JZ to IN
        0xBA, 0xF8, 0x03,              // MOV DX,3F8h
        0xA0, 0x00, 0x05,              // MOV AL,[500h]
        0xEE,                          // OUT DX,AL
        0xFE, 0x06, 0x00, 0x05,        // INC BYTE [500h]
        0xEB, 0xEB,                    // JMP next
    };
    constexpr std::array<std::uint8_t, 5> kReset{0xEA, 0x00, 0x00, 0x00, 0xF0};  // JMP F000:0000
    std::vector<std::uint8_t> bios(64 * 1024, 0xF4);
    std::copy(kCode.begin(), kCode.end(), bios.begin());
    std::copy(kReset.begin(), kReset.end(), bios.begin() + 0xFFF0);
    return bios;
}

/// Such a machine with one raw disk, in a folder of its own.
class CountingMachine {
  public:
    CountingMachine() {
        std::ofstream(disk(), std::ios::binary).write(std::vector<char>(1 << 20).data(), 1 << 20);
        settings.name = "counter";
        settings.memory = 4;
        settings.bios = counting_bios();
        settings.disks[0] = disk();
        settings.saved_state = folder / "counter.vsv";
        settings.serial[0] = [this](std::uint8_t byte) {
            const std::scoped_lock guard(mutex_);
            sent_.push_back(byte);
        };
        settings.unix_time = [] { return std::int64_t{1'000'000'000}; };
    }

    std::shared_ptr<VirtualMachine> make() {
        auto machine = VirtualMachine::make(settings, worker, tasks);
        machine->OnStateChange([this](VMVMState state) {
            const std::scoped_lock guard(mutex_);
            events_.push_back(state);
        });
        return machine;
    }
    std::filesystem::path disk() const { return folder / "disk.img"; }

    std::vector<std::uint8_t> sent() const {
        const std::scoped_lock guard(mutex_);
        return sent_;
    }
    /// Events since the last call.
    std::vector<VMVMState> events() {
        const std::scoped_lock guard(mutex_);
        return std::exchange(events_, {});
    }
    /// Until the guest has sent `count` bytes more. False: it did not within a minute.
    bool wait_for_bytes(std::size_t count) const { return wait_until_sent(sent().size() + count); }
    /// The same for bytes since the first one ever.
    bool wait_until_sent(std::size_t count) const {
        for (int i = 0; i < 60'000 && sent().size() < count; ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        return sent().size() >= count;
    }
    /// Nothing was lost, repeated or set back since the byte `from`, which has the value `first`.
    bool counted_right(std::size_t from = 0, std::size_t first = 0) const {
        const auto bytes = sent();
        for (std::size_t i = from; i < bytes.size(); ++i) {
            if (bytes[i] != static_cast<std::uint8_t>(first + i - from)) {
                return false;
            }
        }
        return true;
    }

    disk::testing::TemporaryFolder folder;
    MachineSettings settings;
    Worker worker;
    TaskCollection tasks;

  private:
    mutable std::mutex mutex_;
    std::vector<std::uint8_t> sent_;
    std::vector<VMVMState> events_;
};

}  // namespace vpc::tasks::testing
