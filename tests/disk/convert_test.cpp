#include "disk/operations/convert.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <random>

#include "disk/operations/compare.h"
#include "disk/vhd/dynamic_disk.h"
#include "tests/disk/image_builder.h"
#include "tests/disk/stopping_operation.h"
#include "tests/disk/temporary_folder.h"

namespace vpc::disk {
namespace {

using testing::StoppingOperation;
using testing::TemporaryFolder;
using Bytes = std::vector<std::uint8_t>;

std::size_t entries(const TemporaryFolder& folder) {
    const std::filesystem::directory_iterator all(folder.path());
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

/// Data in some places, among them the first and the last sector, and zeros between; not a multiple of any block.
Bytes make_disk(std::uint64_t sectors, std::uint32_t seed) {
    Bytes bytes(sectors * kSectorSize);
    std::mt19937 random(seed);
    for (std::uint64_t sector : {std::uint64_t{0}, sectors - 1, sectors / 2, sectors / 3, sectors / 3 + 2500}) {
        const std::uint64_t length = std::min<std::uint64_t>((1 + random() % 3000) * 512, bytes.size() - sector * 512);
        std::generate_n(bytes.begin() + static_cast<std::ptrdiff_t>(sector * 512), length,
                        [&random] { return static_cast<std::uint8_t>(random()); });
    }
    return bytes;
}

std::uint64_t stored_bytes(const std::filesystem::path& path) {
    const auto file = open_file(path, OpenMode::ReadOnly);
    const std::uint64_t size = *(*file)->size();
    std::uint64_t stored = 0;
    for (std::uint64_t offset = 0; offset < size;) {
        const auto run = (*file)->extent(offset, size - offset);
        stored += run->data ? run->bytes : 0;
        offset += run->bytes;
    }
    return stored;
}

constexpr std::uint64_t kSectors = 9 * 2048 + 77;

TEST(Convert, KeepsContentsAndHolesFromEveryTypeToEveryType) {
    const TemporaryFolder folder;
    const Bytes disk = make_disk(kSectors, 5);
    const auto raw = folder.write("disk.raw", disk);
    const auto stored = static_cast<std::uint64_t>(std::count_if(disk.begin(), disk.end(), [](auto b) { return b; }));
    int number = 0;
    std::vector<std::filesystem::path> sources = {raw};
    for (const ImageType type : {ImageType::Fixed, ImageType::Dynamic}) {
        const auto path = folder / ("source" + std::to_string(++number));
        const auto status = convert(raw, {.file = path, .type = type}, {});
        ASSERT_TRUE(status.has_value()) << status.error().message;
        sources.push_back(path);
    }
    for (const auto& source : sources) {
        for (const ConvertTarget& like :
             std::initializer_list<ConvertTarget>{{.type = ImageType::Raw},
                                                  {.type = ImageType::Fixed},
                                                  {.type = ImageType::Dynamic},
                                                  {.type = ImageType::Dynamic, .block_size = 64 << 10},
                                                  {.type = ImageType::Dynamic, .block_size = 512 << 10},
                                                  {.type = ImageType::Dynamic, .block_size = 4 << 20},
                                                  {.type = ImageType::Dynamic, .block_size = 64 << 20}}) {
            ConvertTarget target = like;
            target.file = folder / ("target" + std::to_string(++number));
            double last = 0;
            int whole = 0;
            const Operation operation = {.progress = [&](const Progress& progress) {
                const double part = static_cast<double>(progress.done) / static_cast<double>(progress.total);
                EXPECT_GE(part, last);
                last = part;
                if (progress.done == progress.total) {
                    ++whole;
                    EXPECT_TRUE(std::filesystem::exists(target.file));
                }
            }};
            const auto status = convert(source, target, operation);
            ASSERT_TRUE(status.has_value()) << status.error().message;
            EXPECT_EQ(whole, 1);
            auto device = open_image(target.file, OpenMode::ReadWrite);
            ASSERT_TRUE(device.has_value()) << device.error().message;
            ASSERT_EQ((*device)->sectors(), kSectors);
            ASSERT_EQ(testing::read_sectors(**device, 0, kSectors), disk) << number;
            device->reset();
            EXPECT_LT(stored_bytes(target.file), stored + 40 * 64 * 1024) << number;
            const auto comparison = compare(source, target.file, {});
            ASSERT_TRUE(comparison.has_value());
            EXPECT_TRUE(comparison->equal());
            std::filesystem::remove(target.file);
        }
    }
}

TEST(Convert, GivesANewIdAndKeepsTheGeometryOfAVhd) {
    const TemporaryFolder folder;
    const auto source = folder.write("a.vhd", testing::build_fixed(300));
    ASSERT_TRUE(convert(source, {.file = folder / "b.vhd"}, {}));
    const auto a = open_image(source, OpenMode::ReadOnly);
    const auto b = open_image(folder / "b.vhd", OpenMode::ReadOnly);
    ASSERT_TRUE(a && b);
    EXPECT_NE((*a)->unique_id(), (*b)->unique_id());
    EXPECT_EQ((*a)->geometry(), (*b)->geometry());
    EXPECT_EQ(dynamic_cast<vhd::Image&>(**b).footer().creator_application,
              dynamic_cast<vhd::Image&>(**a).footer().creator_application);
    EXPECT_EQ(std::filesystem::file_size(folder / "b.vhd") % 4096, 0u) << "laid out for 4 KiB sectors";
}

TEST(Convert, ReservesRoomWhenAsked) {
    const TemporaryFolder folder;
    const auto source = folder.write("a.raw", Bytes(8 << 20));
    for (const ImageType type : {ImageType::Raw, ImageType::Fixed}) {
        const auto path = folder / (type == ImageType::Raw ? "b" : "c");
        const auto status = convert(source, {.file = path, .type = type, .reserve = true}, {});
        if (!status && status.error().code == ErrorCode::Unsupported) {
            GTEST_SKIP() << status.error().message;
        }
        ASSERT_TRUE(status.has_value()) << status.error().message;
        const auto file = open_file(path, OpenMode::ReadOnly);
        struct stat information = {};
        ASSERT_EQ(::stat(path.c_str(), &information), 0);
        EXPECT_GE(information.st_blocks * 512, 8 << 20);
    }
    EXPECT_EQ(convert(source, {.file = folder / "d", .reserve = true}, {}).error().code, ErrorCode::Unsupported);
    EXPECT_EQ(convert(source, {.file = folder / "d", .block_size = 5 << 20}, {}).error().code, ErrorCode::Unsupported);
    EXPECT_EQ(convert(source, {.file = folder / "d", .type = ImageType::Differencing}, {}).error().code,
              ErrorCode::Unsupported);
}

TEST(Convert, CancelledAnywhereLeavesNothingBehind) {
    const TemporaryFolder folder;
    const auto source = folder.write("a.raw", make_disk(kSectors, 6));
    const Bytes before = TemporaryFolder::read(source);
    int reports = 0;
    for (int stop_at = 1;; ++stop_at) {
        StoppingOperation operation(stop_at);
        const auto status = convert(source, {.file = folder / "b.vhd"}, operation.get());
        reports = operation.reports();
        if (status) {
            break;  // stopped after the end
        }
        ASSERT_EQ(status.error().code, ErrorCode::Cancelled);
        ASSERT_EQ(entries(folder), 1u);
    }
    EXPECT_GT(reports, 5);
    EXPECT_EQ(TemporaryFolder::read(source), before);
}

TEST(Convert, DoesNotOverwriteUnlessAskedAndNeverItsSource) {
    const TemporaryFolder folder;
    const Bytes disk = make_disk(4096, 6);
    const auto source = folder.write("a.raw", disk);
    EXPECT_EQ(convert(source, {.file = source}, {}).error().code, ErrorCode::AlreadyExists);
    EXPECT_EQ(convert(source, {.file = source, .overwrite = true}, {}).error().code, ErrorCode::InUse);
    EXPECT_EQ(TemporaryFolder::read(source), disk);
    folder.write("b.vhd", Bytes(5));
    ASSERT_TRUE(convert(source, {.file = folder / "b.vhd", .overwrite = true}, {}));
    EXPECT_TRUE(compare(source, folder / "b.vhd", {})->equal());
}

/// Room for some pages, then none.
TEST(Convert, ReportsAFullHost) {
    for (const ImageType type : {ImageType::Raw, ImageType::Fixed, ImageType::Dynamic}) {
        auto source = testing::open_bytes(make_disk(kSectors, 7), OpenMode::ReadOnly);
        ASSERT_TRUE(source.has_value());
        const auto contents = std::make_shared<testing::MemoryContents>();
        contents->max_pages = 100;
        testing::MemoryFile file(contents);
        WorkMeter meter({}, 1);
        const auto status = write_image(**source, file, {.type = type}, meter);
        ASSERT_FALSE(status.has_value());
        EXPECT_EQ(status.error().code, ErrorCode::NoSpace);
    }
}

TEST(Compare, FindsTheFirstDifference) {
    const TemporaryFolder folder;
    Bytes disk = make_disk(kSectors, 8);
    const auto a = folder.write("a.raw", disk);
    ASSERT_TRUE(convert(a, {.file = folder / "a.vhd"}, {}));
    disk[5'000'001] ^= 1;
    disk[5'000'003] ^= 1;
    const auto result = compare(folder / "a.vhd", folder.write("b.raw", disk), {});
    ASSERT_TRUE(result.has_value());
    EXPECT_FALSE(result->equal());
    EXPECT_EQ(result->first_difference, 5'000'001u);
}

TEST(Compare, TakesWhatIsBeyondTheEndForZeros) {
    const TemporaryFolder folder;
    const auto small = folder.write("small", Bytes(1024, 1));
    Bytes bytes(1024, 1);
    bytes.resize(4096);
    auto result = compare(folder.write("large", bytes), small, {});
    EXPECT_EQ(result->first_size, 4096u);
    EXPECT_EQ(result->second_size, 1024u);
    EXPECT_FALSE(result->first_difference.has_value());
    EXPECT_FALSE(result->equal());
    bytes[4000] = 1;
    result = compare(small, folder.write("large2", bytes), {});
    EXPECT_EQ(result->first_difference, 4000u);
}

}  // namespace
}  // namespace vpc::disk
