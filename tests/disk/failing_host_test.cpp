// The host fails at the n-th write, size change or barrier, for every n: the call that needed it says so, all other
// sectors keep their contents, and the image is whole when the host works again.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "disk/log.h"
#include "disk/undo_overlay.h"
#include "tests/disk/image_builder.h"

namespace vpc::disk {
namespace {

using testing::build_dynamic;
using testing::build_fixed;
using testing::DynamicImage;
using testing::filled_sectors;
using testing::MemoryContents;
using testing::MemoryFile;
using testing::open_contents;
using testing::read_sectors;
using testing::write_sectors;

struct Faults {
    int calls_until_failure = -1;  ///< -1: never
    bool lasting = false;          ///< every later call fails, too
    bool failed = false;

    bool strikes() {
        if (calls_until_failure == 0) {
            failed = true;
            calls_until_failure = lasting ? 0 : -1;
            return true;
        }
        calls_until_failure -= calls_until_failure > 0 ? 1 : 0;
        return false;
    }
};

/// Fails as its Faults say; a failing write leaves half of its bytes behind, not on a sector's boundary.
class FaultyFile final : public MemoryFile {
  public:
    FaultyFile(std::shared_ptr<MemoryContents> contents, Faults& faults)
        : MemoryFile(std::move(contents)), faults_(faults) {}

    using MemoryFile::write;
    Status write(std::uint64_t offset, std::span<const ConstBuffer> buffers) override {
        if (!faults_.strikes()) {
            return MemoryFile::write(offset, buffers);
        }
        if (!buffers.empty()) {
            const ConstBuffer half = buffers[0].first(buffers[0].size() / 2);
            (void)MemoryFile::write(offset, std::span(&half, 1));
        }
        return fail(ErrorCode::NoSpace, "cannot write 'memory': No space left on device");
    }
    Status truncate(std::uint64_t size) override {
        return faults_.strikes() ? fail(ErrorCode::IoError, "cannot change the size of 'memory'")
                                 : MemoryFile::truncate(size);
    }
    Status sync() override {
        if (sync_failed_ || faults_.strikes()) {
            sync_failed_ = true;
            return fail(ErrorCode::IoError, "cannot store 'memory'");
        }
        return MemoryFile::sync();
    }

  private:
    Faults& faults_;
    bool sync_failed_ = false;
};

constexpr std::uint64_t kSectors = 400;

class FailingHost : public ::testing::TestWithParam<std::tuple<bool, bool>> {
  protected:
    void SetUp() override { log().set_level(spdlog::level::off); }
    void TearDown() override { log().set_level(spdlog::level::warn); }
};

TEST_P(FailingHost, HarmsOnlyTheSectorsOfTheCallThatFailed) {
    const auto [aligned, lasting] = GetParam();
    DynamicImage image = {.sectors = kSectors, .aligned = aligned, .blocks = {{4, 0xFF}, {9, 0x0F}}};
    int failures = 0;
    for (int n = 0;; ++n) {
        const auto contents = MemoryContents::of(build_dynamic(image));
        Faults faults = {.calls_until_failure = n, .lasting = lasting};
        std::vector<std::uint8_t> model;
        std::vector<bool> defined(kSectors, true);
        bool flushed = false;
        {
            auto device = open_image(std::make_unique<FaultyFile>(contents, faults), OpenMode::ReadWrite);
            ASSERT_TRUE(device.has_value());
            model = read_sectors(**device, 0, kSectors);
            std::mt19937 random(7);
            for (int step = 0; step < 30; ++step) {
                const std::uint64_t sector = random() % kSectors;
                const std::uint64_t count = 1 + random() % std::min<std::uint64_t>(20, kSectors - sector);
                const auto byte = static_cast<std::uint8_t>(100 + step);
                const bool before = faults.failed;
                const Status status = write_sectors(**device, sector, count, byte);
                if (!status) {
                    ASSERT_TRUE(faults.failed);
                }
                ASSERT_TRUE(!status || before == faults.failed) << "a failure was swallowed";
                for (std::uint64_t i = sector; i < sector + count; ++i) {
                    std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(i * 512), 512, byte);
                    defined[i] = status.has_value();
                }
                if (step % 10 == 9) {
                    const bool failed_before = faults.failed;
                    const Status flush = (*device)->flush();
                    ASSERT_TRUE(!flush || failed_before == faults.failed) << "a failure was swallowed";
                }
                const auto now = read_sectors(**device, 0, kSectors);
                ASSERT_FALSE(now.empty());
                for (std::uint64_t i = 0; i < kSectors; ++i) {
                    if (defined[i]) {
                        ASSERT_EQ(now[i * 512], model[i * 512]) << "failure " << n << ", sector " << i;
                    }
                }
            }
            flushed = (*device)->flush().has_value();
        }
        failures += faults.failed ? 1 : 0;
        const auto reading = open_contents(contents, OpenMode::ReadOnly);
        ASSERT_TRUE(reading.has_value()) << "failure " << n;
        const auto bytes = read_sectors(**reading, 0, kSectors);
        ASSERT_FALSE(bytes.empty());
        if (flushed) {
            for (std::uint64_t i = 0; i < kSectors; ++i) {
                if (defined[i]) {
                    ASSERT_EQ(bytes[i * 512], model[i * 512]) << "failure " << n << ", sector " << i;
                }
            }
        }
        if (!faults.failed) {
            break;
        }
    }
    EXPECT_GT(failures, 50);
}

INSTANTIATE_TEST_SUITE_P(Faults, FailingHost, ::testing::Combine(::testing::Bool(), ::testing::Bool()));

TEST(FullHost, IsReportedAndTheBlockIsWrittenWhenThereIsRoomAgain) {
    const auto contents = MemoryContents::of(build_dynamic({.sectors = 64, .blocks = {{0}}}));
    const std::uint64_t size_before = contents->size;
    Faults faults = {.calls_until_failure = 0};
    {
        const auto device = open_image(std::make_unique<FaultyFile>(contents, faults), OpenMode::ReadWrite);
        ASSERT_TRUE(device.has_value());
        const Status status = write_sectors(**device, 30, 1, 0x11);
        ASSERT_FALSE(status.has_value());
        EXPECT_EQ(status.error().code, ErrorCode::NoSpace);
        EXPECT_EQ(contents->size, size_before) << "half a footer at the end would be no footer";
        EXPECT_TRUE(testing::ends_with_footer(*contents));
        EXPECT_TRUE(write_sectors(**device, 30, 1, 0x22));
        EXPECT_TRUE((*device)->flush());
    }
    const auto again = open_contents(contents, OpenMode::ReadWrite);
    ASSERT_TRUE(again.has_value());
    EXPECT_EQ(read_sectors(**again, 30, 1), filled_sectors(1, 0x22));
    EXPECT_EQ(read_sectors(**again, 24, 6), filled_sectors(6, 0));
}

TEST(FullHost, AFailedBarrierKeepsNewBlocksOutOfTheTable) {
    const auto contents = MemoryContents::of(build_dynamic({.sectors = 64, .blocks = {{0}}}));
    Faults faults;
    {
        const auto device = open_image(std::make_unique<FaultyFile>(contents, faults), OpenMode::ReadWrite);
        ASSERT_TRUE(device.has_value());
        ASSERT_TRUE(write_sectors(**device, 30, 1, 0x11));
        faults.calls_until_failure = 0;
        log().set_level(spdlog::level::off);
        EXPECT_FALSE((*device)->flush().has_value());
        EXPECT_FALSE((*device)->flush().has_value()) << "not forgotten";
    }
    log().set_level(spdlog::level::warn);
    EXPECT_EQ(vhd::load_big_endian<std::uint32_t>(contents->bytes(), 1536 + 12), 0xFFFFFFFFu);
    EXPECT_TRUE(open_contents(contents, OpenMode::ReadWrite).has_value());
}

TEST(FullHost, FlatImagesReportFailuresToo) {
    for (const auto& bytes : {build_fixed(64), std::vector<std::uint8_t>(32768)}) {
        Faults faults = {.calls_until_failure = 0};
        const auto device =
            open_image(std::make_unique<FaultyFile>(MemoryContents::of(bytes), faults), OpenMode::ReadWrite);
        ASSERT_TRUE(device.has_value());
        EXPECT_TRUE((*device)->flush()) << "nothing written, nothing to fail";
        EXPECT_EQ(write_sectors(**device, 0, 1, 1).error().code, ErrorCode::NoSpace);
        EXPECT_TRUE(write_sectors(**device, 0, 1, 1));
        EXPECT_TRUE((*device)->flush());
    }
}

TEST(FullHost, UndoOverlayKeepsWhatWasThereBefore) {
    Faults faults = {.calls_until_failure = 1};
    auto base = testing::open_bytes(build_fixed(64), OpenMode::ReadOnly);
    ASSERT_TRUE(base.has_value());
    const auto overlay =
        discard_changes(std::move(*base), std::make_unique<FaultyFile>(std::make_shared<MemoryContents>(), faults));
    EXPECT_TRUE(write_sectors(*overlay, 3, 1, 0xEE));
    EXPECT_EQ(write_sectors(*overlay, 10, 4, 0xEE).error().code, ErrorCode::NoSpace);
    EXPECT_EQ(read_sectors(*overlay, 3, 1), filled_sectors(1, 0xEE));
    EXPECT_EQ(read_sectors(*overlay, 9, 1), filled_sectors(1, testing::built_byte(9)));
    EXPECT_EQ(read_sectors(*overlay, 14, 1), filled_sectors(1, testing::built_byte(14)));
}

}  // namespace
}  // namespace vpc::disk
