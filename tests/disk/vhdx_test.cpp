// VHDX images made by qemu-img, and what becomes of them when their structures are changed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "disk/little_endian.h"
#include "disk/operations/convert.h"
#include "disk/operations/create.h"
#include "disk/vhdx/disk.h"
#include "disk/vhdx/layout.h"
#include "disk/vhdx/parent_locator.h"
#include "tests/disk/image_builder.h"
#include "tests/disk/libvhdi_reader.h"
#include "tests/disk/temporary_folder.h"

namespace vpc::disk {
namespace {

using testing::LibvhdiReader;
using testing::TemporaryFolder;

using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kMiB = 1 << 20;
constexpr std::size_t kHeaders[] = {64 << 10, 128 << 10};
constexpr std::size_t kRegionTables[] = {192 << 10, 256 << 10};

/// The bytes of a VHDX file, to be changed.
class Image {
  public:
    explicit Image(const std::filesystem::path& path) : path_(path), bytes_(TemporaryFolder::read(path)) {}

    Bytes& bytes() { return bytes_; }
    void store(std::size_t offset, std::uint64_t value, std::size_t size) {
        for (std::size_t i = 0; i < size; ++i) {
            bytes_[offset + i] = static_cast<std::uint8_t>(value >> 8 * i);
        }
    }
    void seal(std::size_t offset, std::size_t size) {
        store(offset + 4, 0, 4);
        std::uint32_t crc = ~std::uint32_t{0};
        for (std::size_t i = offset; i < offset + size; ++i) {
            crc ^= bytes_[i];
            for (int bit = 0; bit < 8; ++bit) {
                crc = (crc >> 1) ^ ((crc & 1) * 0x82F63B78);
            }
        }
        store(offset + 4, ~crc, 4);
    }
    std::size_t current_header() const {
        return little64(bytes_, kHeaders[0] + 8) > little64(bytes_, kHeaders[1] + 8) ? kHeaders[0] : kHeaders[1];
    }
    /// Where the regions are, which qemu-img lists in this order.
    std::size_t table() const { return little64(bytes_, kRegionTables[0] + 16 + 16); }
    std::size_t metadata() const { return little64(bytes_, kRegionTables[0] + 48 + 16); }
    /// Where an item of the metadata is, by the first bytes of its id.
    std::size_t item(std::uint32_t id) const {
        for (std::size_t at = metadata() + 32;; at += 32) {
            if (little32(bytes_, at) == id) {
                return metadata() + little32(bytes_, at + 16);
            }
        }
    }
    void set_entry(std::size_t index, std::uint64_t state, std::uint64_t offset) {
        store(table() + 8 * index, offset | state, 8);
    }
    /// Space at the end of the file.
    std::size_t grow(std::size_t size) {
        const std::size_t offset = bytes_.size();
        bytes_.resize(offset + size);
        return offset;
    }
    void save() const {
        std::ofstream(path_, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes_.data()), static_cast<std::streamsize>(bytes_.size()));
    }

  private:
    std::filesystem::path path_;
    Bytes bytes_;
};

constexpr std::uint32_t kFileParameters = 0xCAA16737;
constexpr std::uint32_t kDiskSize = 0x2FA54224;
constexpr std::uint32_t kSectorSizeItem = 0x8141BF1D;

class Vhdx : public ::testing::Test {
  protected:
    void SetUp() override {
        if (std::system("qemu-img --version >/dev/null 2>&1") != 0) {
            GTEST_SKIP() << "qemu-img is not installed";
        }
    }

    std::filesystem::path path(const std::string& name) const { return folder_ / name; }

    /// A disk of `mebibytes` with something in most of its blocks of 1 MiB, but in none of every fifth.
    Bytes make(const std::string& name, std::size_t mebibytes, unsigned seed, const std::string& options = "") {
        Bytes bytes(mebibytes * kMiB);
        std::mt19937 random(seed);
        for (std::size_t block = 0; block < mebibytes; ++block) {
            for (std::size_t i = 0; block % 5 != 4 && i < 3000; ++i) {
                bytes[block * kMiB + random() % kMiB] = static_cast<std::uint8_t>(random());
            }
        }
        folder_.write("disk.raw", bytes);
        EXPECT_EQ(std::system(("qemu-img convert -f raw -O vhdx -o block_size=1M" + options + " " +
                               path("disk.raw").string() + " " + path(name).string())
                                  .c_str()),
                  0);
        return bytes;
    }

    Bytes read(const std::string& name, std::uint64_t sector, std::uint64_t count) const {
        const auto device = open_image(path(name), OpenMode::ReadOnly);
        EXPECT_TRUE(device.has_value()) << device.error().message;
        return device ? testing::read_sectors(**device, sector, count) : Bytes();
    }

    /// Opening fails so, with a message that has `part`.
    void expect_refused(const std::string& name, ErrorCode code, const std::string& part) const {
        const auto device = open_image(path(name), OpenMode::ReadOnly);
        ASSERT_FALSE(device.has_value()) << part;
        EXPECT_EQ(device.error().code, code) << device.error().message;
        EXPECT_NE(device.error().message.find(part), std::string::npos) << device.error().message;
        EXPECT_NE(device.error().message.find(name), std::string::npos) << device.error().message;
        EXPECT_EQ(device.error().message.find('\n'), std::string::npos);
    }

    /// Makes `child`, an image with the size of `parent`, a differencing one of it: adds a parent locator to its
    /// metadata, with the value for each key.
    void make_differencing(const std::string& child, const std::string& parent,
                           const std::vector<std::pair<std::string, std::string>>& paths) const {
        Image base(path(parent));
        vhdx::Id id;
        std::copy_n(base.bytes().begin() + static_cast<std::ptrdiff_t>(base.current_header() + 32), 16, id.begin());
        std::vector<std::pair<std::string, std::string>> values = {{"parent_linkage", vhdx::text_of_id(id)}};
        values.insert(values.end(), paths.begin(), paths.end());
        Image image(path(child));
        const std::size_t metadata = image.metadata();
        const std::size_t number = little16(image.bytes(), metadata + 10);
        const std::size_t locator = metadata + (128 << 10);
        const std::uint8_t item_id[] = {0x2D, 0x5F, 0xD3, 0xA8, 0x0B, 0xB3, 0x4D, 0x45,
                                        0xAB, 0xF7, 0xD3, 0xD8, 0x48, 0x34, 0xAB, 0x0C};
        const std::uint8_t locator_type[] = {0xB7, 0xEF, 0x4A, 0xB0, 0x9E, 0xD1, 0x81, 0x4A,
                                             0xB7, 0x89, 0x25, 0xB8, 0xE9, 0x44, 0x59, 0x13};
        std::copy_n(locator_type, 16, &image.bytes()[locator]);
        image.store(locator + 18, values.size(), 2);
        std::size_t end = 20 + values.size() * 12;
        for (std::size_t i = 0; i < values.size(); ++i) {
            for (std::size_t part = 0; part < 2; ++part) {
                const std::string& text = part == 0 ? values[i].first : values[i].second;
                image.store(locator + 20 + 12 * i + 4 * part, end, 4);
                image.store(locator + 20 + 12 * i + 8 + 2 * part, text.size() * 2, 2);
                for (const char c : text) {
                    image.store(locator + end, static_cast<std::uint8_t>(c), 2);
                    end += 2;
                }
            }
        }
        const std::size_t entry = metadata + 32 + 32 * number;
        std::copy_n(item_id, 16, &image.bytes()[entry]);
        image.store(entry + 16, 128 << 10, 4);
        image.store(entry + 20, end, 4);
        image.store(entry + 24, 4, 4);
        image.store(metadata + 10, number + 1, 2);
        image.store(image.item(kFileParameters) + 4, 2, 4);
        image.save();
    }

    TemporaryFolder folder_;
};

TEST_F(Vhdx, DynamicAndFixedReadAsQemuImgWroteThem) {
    for (const std::string options : {"", ",subformat=fixed"}) {
        const Bytes model = make("a.vhdx", 24, 1, options);
        EXPECT_EQ(read("a.vhdx", 0, 24 * 2048), model);
        EXPECT_EQ(read("a.vhdx", 2040, 17), Bytes(model.begin() + 2040 * 512, model.begin() + 2057 * 512));
        const auto device = open_image(path("a.vhdx"), OpenMode::ReadOnly);
        ASSERT_TRUE(device.has_value());
        EXPECT_TRUE(vhdx::is_vhdx(**device));
        EXPECT_TRUE((*device)->read_only());
        EXPECT_EQ((*device)->write(0, ConstBuffer(model).first(512)).error().code, ErrorCode::ReadOnly);
        Bytes sector(512);
        EXPECT_EQ((*device)->read(24 * 2048, Buffer(sector)).error().code, ErrorCode::OutOfRange);
        ASSERT_TRUE(convert(path("a.vhdx"), {.file = path("a.vhd"), .overwrite = true}, {}).has_value());
        EXPECT_EQ(read("a.vhd", 0, 24 * 2048), model);
    }
}

TEST_F(Vhdx, HolesAreKnown) {
    make("a.vhdx", 24, 1);
    const auto device = open_image(path("a.vhdx"), OpenMode::ReadOnly);
    ASSERT_TRUE(device.has_value());
    for (std::uint64_t block = 0; block < 24; ++block) {
        const auto extent = (*device)->extent(block * 2048 + 100, 100'000 < 24 * 2048 - block * 2048 ? 100'000 : 1);
        ASSERT_TRUE(extent.has_value());
        EXPECT_EQ(extent->data, block % 5 != 4) << block;
        EXPECT_EQ(extent->depth, 0u);
    }
}

TEST_F(Vhdx, IsOnlyRead) {
    make("a.vhdx", 4, 1);
    const auto device = open_image(path("a.vhdx"), OpenMode::ReadWrite);
    ASSERT_FALSE(device.has_value());
    EXPECT_EQ(device.error().code, ErrorCode::ReadOnly);
    EXPECT_NE(device.error().message.find("convert it"), std::string::npos) << device.error().message;
}

TEST_F(Vhdx, BeyondTheFirstChunkOfAFixedImageLibvhdiIsWrong) {
    const auto raw = path("disk.raw");
    folder_.write("disk.raw", Bytes(512, 0x11));
    std::filesystem::resize_file(raw, 5120 * kMiB);
    {
        const auto disk = open_image(raw, OpenMode::ReadWrite);
        ASSERT_TRUE(testing::write_sectors(**disk, 4608 * 2048, 1, 0x77));
    }
    ASSERT_EQ(std::system(("qemu-img convert -f raw -O vhdx -o subformat=fixed,block_size=32M " + raw.string() + " " +
                           path("a.vhdx").string())
                              .c_str()),
              0);
    EXPECT_EQ(read("a.vhdx", 0, 1), Bytes(512, 0x11));
    EXPECT_EQ(read("a.vhdx", 4608 * 2048, 1), Bytes(512, 0x77));
    const LibvhdiReader other({path("a.vhdx")});
    EXPECT_EQ(other.read(0, 512), Bytes(512, 0x11));
    EXPECT_EQ(other.read(4608 * kMiB, 512), Bytes(512, 0)) << "it takes the entry of a bitmap for a block's";
}

TEST_F(Vhdx, LogsThatWereNotAppliedAreRefused) {
    make("a.vhdx", 4, 1);
    Image image(path("a.vhdx"));
    image.store(image.current_header() + 48, 0x1234, 8);
    image.seal(image.current_header(), 4096);
    image.save();
    expect_refused("a.vhdx", ErrorCode::Unsupported, "in its log that are not applied");
    // The other header's log does not matter.
    Image again(path("a.vhdx"));
    again.store(again.current_header() + 48, 0, 8);
    again.seal(again.current_header(), 4096);
    const std::size_t older = kHeaders[0] + kHeaders[1] - again.current_header();
    again.store(older + 48, 0x1234, 8);
    again.seal(older, 4096);
    again.save();
    EXPECT_TRUE(open_image(path("a.vhdx"), OpenMode::ReadOnly).has_value());
}

TEST_F(Vhdx, DamagedStructuresAreRefused) {
    make("a.vhdx", 4, 1);
    const auto with = [&](auto change) {
        std::filesystem::remove(path("b.vhdx"));
        std::filesystem::copy(path("a.vhdx"), path("b.vhdx"));
        Image image(path("b.vhdx"));
        change(image);
        image.save();
    };
    const auto seal_regions = [](Image& image) {
        for (const std::size_t table : kRegionTables) {
            image.seal(table, 64 << 10);
        }
    };
    with([](Image& image) { image.bytes().resize(700'000); });
    expect_refused("b.vhdx", ErrorCode::Corrupt, "ends within its headers");
    with([](Image& image) { image.bytes()[kHeaders[0] + 100] ^= 1, image.bytes()[kHeaders[1] + 100] ^= 1; });
    expect_refused("b.vhdx", ErrorCode::Corrupt, "both of its headers");
    with([](Image& image) { image.bytes()[image.current_header() + 100] ^= 1; });
    expect_refused("b.vhdx", ErrorCode::Corrupt, "newer header");
    with([](Image& image) {
        image.store(image.current_header() + 66, 2, 2);
        image.seal(image.current_header(), 4096);
    });
    expect_refused("b.vhdx", ErrorCode::Unsupported, "version 2");
    for (const std::size_t table : kRegionTables) {
        with([&](Image& image) { image.bytes()[table + 1000] ^= 1; });
        expect_refused("b.vhdx", ErrorCode::Corrupt, "region tables");
    }
    for (const auto& [offset, value] : {std::pair(8, 5000), {16 + 16, 3 << 19}, {16 + 24, 1 << 30}, {16 + 16, 0}}) {
        with([&, offset = offset, value = value](Image& image) {
            for (const std::size_t table : kRegionTables) {
                image.store(table + static_cast<std::size_t>(offset), static_cast<std::uint64_t>(value), 4);
            }
            seal_regions(image);
        });
        expect_refused("b.vhdx", ErrorCode::Corrupt, "region");
    }
    with([&](Image& image) {
        for (const std::size_t table : kRegionTables) {
            image.bytes()[table + 16] ^= 1;  // now a region that nobody knows
            image.store(table + 16 + 28, 1, 4);
        }
        seal_regions(image);
    });
    expect_refused("b.vhdx", ErrorCode::Unsupported, "required part");
    with([](Image& image) { image.store(image.metadata() + 32 + 16, 100, 4); });
    expect_refused("b.vhdx", ErrorCode::Corrupt, "outside its region");
    with([](Image& image) { image.store(image.item(kDiskSize), 4 * kMiB + 1, 8); });
    expect_refused("b.vhdx", ErrorCode::Corrupt, "size of its disk");
    with([](Image& image) { image.store(image.item(kDiskSize), std::uint64_t{60} << 40, 8); });
    expect_refused("b.vhdx", ErrorCode::Corrupt, "too short");
    with([](Image& image) { image.store(image.item(kFileParameters), 3 * kMiB, 4); });
    expect_refused("b.vhdx", ErrorCode::Corrupt, "its blocks");
    with([](Image& image) { image.store(image.item(kFileParameters) + 4, 2, 4); });
    expect_refused("b.vhdx", ErrorCode::Corrupt, "does not say of which parent");
    with([](Image& image) { image.store(image.item(kSectorSizeItem), 4096, 4); });
    expect_refused("b.vhdx", ErrorCode::Unsupported, "sectors of 4096 bytes");
    with([](Image& image) { image.set_entry(1, 6, 1000 * kMiB); });
    expect_refused("b.vhdx", ErrorCode::Corrupt, "block lies outside");
    with([](Image& image) { image.set_entry(1, 7, kMiB); });
    expect_refused("b.vhdx", ErrorCode::Corrupt, "block table is wrong");
    with([](Image& image) { image.set_entry(1, 5, 0); });
    expect_refused("b.vhdx", ErrorCode::Corrupt, "block table is wrong");
}

/// A child whose blocks are of every kind.
class VhdxChild : public Vhdx {
  protected:
    /// The disk that the child holds.
    Bytes make_family() {
        const Bytes below = make("parent.vhdx", 12, 1);
        Bytes model = make("child.vhdx", 12, 2);
        make_differencing("child.vhdx", "parent.vhdx", {{"relative_path", ".\\parent.vhdx"}});
        Image image(path("child.vhdx"));
        const std::size_t bitmap = image.grow(kMiB);
        image.set_entry(4096, 6, bitmap);  // behind the 4096 blocks of 1 MiB of a chunk
        const auto from_parent = [&](std::size_t offset, std::size_t length) {
            std::copy_n(below.begin() + static_cast<std::ptrdiff_t>(offset), length,
                        model.begin() + static_cast<std::ptrdiff_t>(offset));
        };
        image.set_entry(0, 0, 0);
        from_parent(0, kMiB);
        image.set_entry(1, 2, 0);  // zeros, whatever the parent has
        std::fill_n(model.begin() + kMiB, kMiB, std::uint8_t{0});
        for (const std::size_t block : {2, 3}) {  // some sectors
            const std::uint64_t entry = little64(image.bytes(), image.table() + 8 * block);
            image.set_entry(block, 7, entry & ~std::uint64_t{7});
            for (std::size_t sector = 0; sector < 2048; ++sector) {
                const std::size_t bit = block * 2048 + sector;
                if (block == 2 ? (sector * sector + sector / 7) % 3 == 0 : sector >= 1000) {
                    image.bytes()[bitmap + bit / 8] |= static_cast<std::uint8_t>(1 << bit % 8);
                } else {
                    from_parent(bit * 512, 512);
                }
            }
        }
        image.set_entry(4, 0, 0);  // qemu-img calls it zeros
        from_parent(4 * kMiB, kMiB);
        image.set_entry(9, 3, 0);  // unmapped
        std::fill_n(model.begin() + 9 * kMiB, kMiB, std::uint8_t{0});
        image.save();
        return model;
    }
};

TEST_F(VhdxChild, SectorsComeFromWhereTheyBelong) {
    const Bytes model = make_family();
    EXPECT_EQ(read("child.vhdx", 0, 12 * 2048), model);
    const auto device = open_image(path("child.vhdx"), OpenMode::ReadOnly);
    ASSERT_TRUE(device.has_value());
    std::mt19937 random(4);
    for (int i = 0; i < 200; ++i) {
        const std::uint64_t sector = random() % (12 * 2048 - 300);
        const std::uint64_t count = 1 + random() % 300;
        EXPECT_EQ(testing::read_sectors(**device, sector, count),
                  Bytes(model.begin() + static_cast<std::ptrdiff_t>(sector * 512),
                        model.begin() + static_cast<std::ptrdiff_t>((sector + count) * 512)));
    }
    EXPECT_EQ((*device)->extent(100, 100)->depth, 1u);
    EXPECT_FALSE((*device)->extent(2048 + 100, 100)->data);
    EXPECT_EQ((*device)->extent(3 * 2048, 2048)->sectors, 1000u);
    EXPECT_EQ((*device)->extent(3 * 2048, 2048)->depth, 1u);
    EXPECT_EQ((*device)->extent(3 * 2048 + 1000, 100)->depth, 0u);
    ASSERT_TRUE(convert(path("child.vhdx"), {.file = path("a.vhd")}, {}).has_value());
    EXPECT_EQ(read("a.vhd", 0, 12 * 2048), model);
}

/// Why the images are not read by it.
TEST_F(VhdxChild, LibvhdiAgreesExceptForBlocksOfZeros) {
    const Bytes model = make_family();
    const LibvhdiReader other({path("child.vhdx"), path("parent.vhdx")});
    ASSERT_TRUE(other.good());
    const Bytes parent = read("parent.vhdx", 0, 12 * 2048);
    for (std::size_t block = 0; block < 12; ++block) {
        const auto of = [&](const Bytes& bytes) {
            return Bytes(bytes.begin() + static_cast<std::ptrdiff_t>(block * kMiB),
                         bytes.begin() + static_cast<std::ptrdiff_t>((block + 1) * kMiB));
        };
        const bool zeros = block == 1 || block == 9;
        EXPECT_EQ(other.read(block * kMiB, kMiB) == of(model), !zeros || of(parent) == of(model)) << block;
        if (block == 1) {
            EXPECT_EQ(other.read(block * kMiB, kMiB), of(parent)) << "it shows the parent's data instead of zeros";
        }
    }
}

TEST_F(VhdxChild, ParentsAreFoundAndChecked) {
    const Bytes model = make_family();
    std::filesystem::create_directory(path("elsewhere"));
    std::filesystem::rename(path("parent.vhdx"), path("elsewhere") / "parent.vhdx");
    expect_refused("child.vhdx", ErrorCode::NotFound, "the parent 'parent.vhdx' of");
    EXPECT_TRUE(open_image(path("child.vhdx"), {.parent_folders = {path("elsewhere")}}).has_value());
    folder_.write("parent.vhdx", Bytes(4096, 1));
    expect_refused("child.vhdx", ErrorCode::Unsupported, "is no VHDX");
    make("parent.vhdx", 12, 1);
    expect_refused("child.vhdx", ErrorCode::ParentMismatch, "has the id {");
    EXPECT_EQ(open_image(path("child.vhdx"), {.parent_folders = {path("elsewhere")}}).has_value(), true)
        << "one of the others may be the right one";
    // A circle is a chain without an end.
    std::filesystem::remove(path("parent.vhdx"));
    std::filesystem::copy(path("child.vhdx"), path("parent.vhdx"));
    EXPECT_EQ(open_image(path("child.vhdx"), OpenMode::ReadOnly).error().code, ErrorCode::Unsupported);
}

TEST_F(VhdxChild, ParentsAreFoundByAbsoluteWindowsPaths) {
    make("parent.vhdx", 4, 1);
    const Bytes model = make("child.vhdx", 4, 2);
    make_differencing("child.vhdx", "parent.vhdx", {{"absolute_win32_path", "C:\\disks\\parent.vhdx"}});
    EXPECT_EQ(read("child.vhdx", 0, 4 * 2048), model);
}

TEST_F(VhdxChild, DamagedParentLocatorsAreRefused) {
    make_family();
    for (const auto& [offset, value] : {std::pair(18, 60'000), {20, 1 << 30}, {28, 60'000}, {20, 0}}) {
        std::filesystem::copy(path("child.vhdx"), path("b.vhdx"), std::filesystem::copy_options::overwrite_existing);
        Image image(path("b.vhdx"));
        const std::size_t locator = image.metadata() + (128 << 10);
        image.store(locator + static_cast<std::size_t>(offset), static_cast<std::uint64_t>(value),
                    offset == 20 ? 4 : 2);
        image.save();
        expect_refused("b.vhdx", ErrorCode::Corrupt, "what it says of its parent");
    }
}

/// A VHD may have such a disk as its parent, as it may a raw one.
TEST_F(Vhdx, ADifferencingVhdLiesOverIt) {
    const Bytes model = make("a.vhdx", 4, 1);
    ASSERT_TRUE(
        create_image({.file = path("child.vhd"), .type = ImageType::Differencing, .parent = path("a.vhdx")}, {}));
    const Bytes before = TemporaryFolder::read(path("a.vhdx"));
    const auto child = open_image(path("child.vhd"), OpenMode::ReadWrite);
    ASSERT_TRUE(child.has_value()) << child.error().message;
    EXPECT_EQ(testing::read_sectors(**child, 0, 4 * 2048), model);
    ASSERT_TRUE(testing::write_sectors(**child, 9, 1, 0x99));
    EXPECT_EQ(testing::read_sectors(**child, 9, 1), Bytes(512, 0x99));
    EXPECT_EQ(TemporaryFolder::read(path("a.vhdx")), before);
}

}  // namespace
}  // namespace vpc::disk
