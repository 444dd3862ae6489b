#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "core/io_executor.h"
#include "devices/ata_disk.h"
#include "devices/pci_bus.h"
#include "devices/piix4_ide.h"
#include "disk/reads_at_once.h"
#include "tests/devices/conformance.h"

namespace vpc::devices::test {

/// What a test sees of the disk behind a MemoryDisk.
struct DiskImage {
    explicit DiskImage(std::uint64_t count) : sectors(count) {}

    std::uint64_t sectors;
    disk::Geometry geometry{.cylinders = 4, .heads = 16, .sectors_per_track = 63};
    bool read_only = false;
    bool keeps_writes = true;
    std::array<std::uint8_t, 16> id{};
    std::set<std::uint64_t> bad;  // sectors that can be neither read nor written
    bool flush_fails = false;
    bool in_memory = true;  // reading needs no waiting
    unsigned flushes = 0;
    std::vector<std::uint64_t> read_sizes;  // in sectors, one entry per call
    std::vector<std::uint64_t> write_sizes;

    /// Contents of a sector that was never written: its number, over and over.
    std::vector<std::uint8_t> sector(std::uint64_t number) const {
        if (const auto found = written.find(number); found != written.end()) {
            return found->second;
        }
        std::vector<std::uint8_t> bytes(disk::kSectorSize);
        for (std::size_t i = 0; i < bytes.size(); i += sizeof number) {
            std::memcpy(&bytes[i], &number, sizeof number);
        }
        return bytes;
    }
    std::vector<std::uint8_t> contents(std::uint64_t first, unsigned count) const {
        std::vector<std::uint8_t> bytes;
        for (unsigned i = 0; i < count; ++i) {
            const auto one = sector(first + i);
            bytes.insert(bytes.end(), one.begin(), one.end());
        }
        return bytes;
    }
    std::map<std::uint64_t, std::vector<std::uint8_t>> written;
};

class MemoryDisk : public disk::BlockDevice {
  public:
    explicit MemoryDisk(std::shared_ptr<DiskImage> image) : image_(std::move(image)) {}

    std::uint64_t sectors() const override { return image_->sectors; }
    disk::Geometry geometry() const override { return image_->geometry; }
    bool read_only() const override { return image_->read_only; }
    std::array<std::uint8_t, 16> unique_id() const override { return image_->id; }
    disk::Status read(std::uint64_t sector, std::span<const disk::Buffer> buffers) override {
        if (disk::ReadsAtOnce::wanted() && !image_->in_memory) {
            return disk::fail(disk::ErrorCode::WouldWait, {});
        }
        std::uint64_t at = sector;
        for (const disk::Buffer buffer : buffers) {
            for (std::size_t done = 0; done < buffer.size(); done += disk::kSectorSize, ++at) {
                if (at >= image_->sectors || image_->bad.contains(at)) {
                    return disk::fail(disk::ErrorCode::IoError, "test disk: a bad sector");
                }
                const auto bytes = image_->sector(at);
                std::memcpy(buffer.data() + done, bytes.data(), bytes.size());
            }
        }
        image_->read_sizes.push_back(at - sector);
        return {};
    }
    disk::Result<disk::Extent> extent(std::uint64_t, std::uint64_t limit) override {
        return disk::Extent{.sectors = limit, .data = true};
    }
    disk::Status write(std::uint64_t sector, std::span<const disk::ConstBuffer> buffers) override {
        std::uint64_t at = sector;
        for (const disk::ConstBuffer buffer : buffers) {
            for (std::size_t done = 0; done < buffer.size(); done += disk::kSectorSize, ++at) {
                if (at >= image_->sectors || image_->bad.contains(at)) {
                    return disk::fail(disk::ErrorCode::IoError, "test disk: a bad sector");
                }
                const auto bytes = buffer.subspan(done, disk::kSectorSize);
                if (image_->keeps_writes) {
                    image_->written[at].assign(bytes.begin(), bytes.end());
                }
            }
        }
        image_->write_sizes.push_back(at - sector);
        return {};
    }
    disk::Status flush() override {
        if (image_->flush_fails) {
            return disk::fail(disk::ErrorCode::NoSpace, "test disk: cannot flush");
        }
        ++image_->flushes;
        return {};
    }
    disk::Status discard(std::uint64_t, std::uint64_t) override { return {}; }

  private:
    std::shared_ptr<DiskImage> image_;
};

/// Runs work at once, or, deferring, when the test says so. Has drives believe that it is busy unless `says_idle`.
class TestExecutor : public IoExecutor {
  public:
    bool deferring = false;
    bool says_idle = false;

    void submit(std::function<void()> work, std::function<void()> completion) override {
        jobs_.emplace_back(std::move(work), std::move(completion));
        if (!deferring) {
            run();
        }
    }
    bool idle() override { return says_idle; }
    /// Runs everything, also what completions submit.
    void run() {
        while (!jobs_.empty()) {
            run_one();
        }
    }
    void run_one() {
        auto job = std::move(jobs_.front());
        jobs_.pop_front();
        job.first();
        job.second();
    }
    std::size_t pending() const { return jobs_.size(); }

  private:
    std::deque<std::pair<std::function<void()>, std::function<void()>>> jobs_;
};

/// A PIIX4 IDE function on a bus of its own, switched on as the firmware does it.
class IdeBench : public Bench {
  public:
    static constexpr std::uint16_t kBusMaster = 0xC000;
    static constexpr unsigned kDevice = 1;
    static constexpr unsigned kFunction = 1;

    TestExecutor& io = add<TestExecutor>();
    std::array<Probe, 2> irq;
    PciBus& pci = add<PciBus>(ports, nullptr);
    Piix4Ide& ide = add_device<Piix4Ide>(ports, memory, clock, io, std::array<Line, 2>{irq[0].line(), irq[1].line()});

    IdeBench() {
        pci.attach(kDevice, kFunction, ide);
        enable();
    }

    void enable() {
        config(0x40, 0x80008000);
        config(0x20, kBusMaster);
        config(0x04, 0x0005);
    }
    void config(unsigned reg, std::uint32_t value) {
        out(0xCF8, 0x80000000 | kDevice << 11 | kFunction << 8 | reg, 4);
        out(0xCFC, value, 4);
    }
    std::shared_ptr<DiskImage> add_disk(unsigned channel, unsigned unit, std::uint64_t sectors = 10000) {
        auto image = std::make_shared<DiskImage>(sectors);
        attach(channel, unit, image);
        return image;
    }
    void attach(unsigned channel, unsigned unit, std::shared_ptr<DiskImage> image) {
        ide.attach(channel, unit, std::make_unique<AtaDisk>(std::make_unique<MemoryDisk>(std::move(image))));
    }
};

}  // namespace vpc::devices::test
