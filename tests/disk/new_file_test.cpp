#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "disk/new_file.h"
#include "tests/disk/temporary_folder.h"

namespace vpc::disk {
namespace {

using testing::TemporaryFolder;
using Bytes = std::vector<std::uint8_t>;

std::size_t entries(const TemporaryFolder& folder) {
    const std::filesystem::directory_iterator all(folder.path());
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

TEST(NewFile, AppearsWhenItIsComplete) {
    const TemporaryFolder folder;
    {
        const auto file = NewFile::create(folder / "new", false);
        ASSERT_TRUE(file.has_value()) << file.error().message;
        EXPECT_NE((*file)->file().name().find("new'"), std::string::npos);
        ASSERT_TRUE((*file)->file().write(0, Bytes(10, 7)));
        EXPECT_FALSE(std::filesystem::exists(folder / "new"));
        ASSERT_TRUE((*file)->complete());
        EXPECT_EQ(TemporaryFolder::read(folder / "new"), Bytes(10, 7));
    }
    EXPECT_EQ(entries(folder), 1u) << "and stays";
}

TEST(NewFile, LeavesNothingWhenItWasNotCompleted) {
    const TemporaryFolder folder;
    {
        const auto file = NewFile::create(folder / "new", false);
        ASSERT_TRUE(file.has_value());
        ASSERT_TRUE((*file)->file().write(0, Bytes(10, 7)));
    }
    EXPECT_EQ(entries(folder), 0u);
}

TEST(NewFile, GivesTheRoomOfALargeOneBackSoon) {
    const TemporaryFolder folder;
    int descriptor = -1;
    {
        const auto file = NewFile::create(folder / "new", false);
        ASSERT_TRUE(file.has_value());
        ASSERT_TRUE((*file)->file().write(std::uint64_t{100} << 20, Bytes(10, 7)));
        descriptor = dynamic_cast<PosixFile&>((*file)->file()).descriptor();
    }
    EXPECT_EQ(entries(folder), 0u) << "at once";
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (::fcntl(descriptor, F_GETFD) >= 0 && std::chrono::steady_clock::now() < end) {
        std::this_thread::yield();
    }
    EXPECT_LT(::fcntl(descriptor, F_GETFD), 0) << "closed, which frees it";
}

TEST(NewFile, NeverReplacesUnlessAsked) {
    const TemporaryFolder folder;
    const auto target = folder.write("a", Bytes(3, 1));
    EXPECT_EQ(NewFile::create(target, false).error().code, ErrorCode::AlreadyExists);
    // Somebody is faster.
    const auto file = NewFile::create(folder / "b", false);
    ASSERT_TRUE(file.has_value());
    folder.write("b", Bytes(3, 2));
    EXPECT_EQ((*file)->complete().error().code, ErrorCode::AlreadyExists);
    EXPECT_EQ(TemporaryFolder::read(folder / "b"), Bytes(3, 2));
    ASSERT_EQ(::symlink("nowhere", (folder / "c").c_str()), 0);
    EXPECT_EQ(NewFile::create(folder / "c", false).error().code, ErrorCode::AlreadyExists);
}

TEST(NewFile, ReplacesAtTheEndOnly) {
    const TemporaryFolder folder;
    const auto target = folder.write("a", Bytes(3, 1));
    folder.write(".a." + std::to_string(::getpid()) + "-0", Bytes(1, 9));  // left by a dead process
    ASSERT_EQ(::symlink("a", (folder / "link").c_str()), 0);
    const auto file = NewFile::create(folder / "link", true);
    ASSERT_TRUE(file.has_value()) << file.error().message;
    ASSERT_TRUE((*file)->file().write(0, Bytes(5, 2)));
    EXPECT_EQ(TemporaryFolder::read(target), Bytes(3, 1));
    ASSERT_TRUE((*file)->complete());
    EXPECT_EQ(TemporaryFolder::read(target), Bytes(5, 2));
    EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
    EXPECT_EQ(entries(folder), 3u);
}

TEST(NewFile, DoesNotReplaceWhatIsInUseOrNoFile) {
    const TemporaryFolder folder;
    const auto target = folder.write("a", Bytes(3, 1));
    const auto user = open_file(target, OpenMode::ReadOnly);
    ASSERT_TRUE((*user)->lock(LockKind::Shared));
    EXPECT_EQ(NewFile::create(target, true).error().code, ErrorCode::InUse);
    std::filesystem::create_directory(folder / "d");
    EXPECT_EQ(NewFile::create(folder / "d", true).error().code, ErrorCode::NotAnImage);
    EXPECT_EQ(NewFile::create(folder / "missing" / "a", false).error().code, ErrorCode::NotFound);
}

TEST(NewFile, TakesTheLockOfWhatItReplaces) {
    const TemporaryFolder folder;
    const auto target = folder.write("a", Bytes(3, 1));
    auto lock = open_locked(target, OpenMode::ReadWrite, LockKind::Exclusive);
    ASSERT_TRUE(lock.has_value());
    {
        const auto given_up = NewFile::replace(target, *lock);
        ASSERT_TRUE(given_up.has_value());
    }
    EXPECT_TRUE(is_locked(target)) << "still the old one's";
    const auto file = NewFile::replace(target, *lock);
    ASSERT_TRUE(file.has_value());
    ASSERT_TRUE((*file)->file().write(0, Bytes(5, 2)));
    ASSERT_TRUE((*file)->complete());
    EXPECT_EQ(TemporaryFolder::read(target), Bytes(5, 2));
    EXPECT_TRUE(is_locked(target));
    lock->reset();
    EXPECT_FALSE(is_locked(target));
}

/// While one thread replaces a file again and again, keeping its lock, nobody else ever gets one on the file.
TEST(NewFile, ItsLockIsNeverAnybodyElses) {
    const TemporaryFolder folder;
    const auto target = folder.write("a", Bytes(3, 1));
    auto lock = open_locked(target, OpenMode::ReadWrite, LockKind::Exclusive);
    ASSERT_TRUE(lock.has_value());
    std::atomic<bool> done = false;
    unsigned refused = 0;
    std::thread other([&] {
        while (!done) {
            const auto got = open_locked(target, OpenMode::ReadWrite, LockKind::Exclusive);
            EXPECT_FALSE(got.has_value()) << "after " << refused;
            refused += got || got.error().code != ErrorCode::InUse ? 0 : 1;
        }
    });
    for (int i = 0; i < 300; ++i) {
        const auto file = NewFile::replace(target, *lock);
        ASSERT_TRUE(file.has_value());
        ASSERT_TRUE((*file)->complete());
    }
    done = true;
    other.join();
    EXPECT_GT(refused, 0u);
}

class HostFile : public ::testing::Test {
  protected:
    void SetUp() override {
        auto file = create_temporary_file();
        ASSERT_TRUE(file.has_value());
        file_ = std::move(*file);
    }
    Bytes read(std::uint64_t offset, std::size_t length) {
        Bytes bytes(length);
        EXPECT_TRUE(file_->read(offset, Buffer(bytes)));
        return bytes;
    }
    std::unique_ptr<File> file_;
};

TEST_F(HostFile, TellsHolesFromData) {
    constexpr std::uint64_t kMiB = 1 << 20;
    ASSERT_TRUE(file_->truncate(8 * kMiB));
    ASSERT_TRUE(file_->write(2 * kMiB, Bytes(kMiB, 5)));
    std::uint64_t data = 0;
    for (std::uint64_t offset = 0; offset < 8 * kMiB;) {
        const auto run = file_->extent(offset, 8 * kMiB - offset);
        ASSERT_TRUE(run.has_value());
        ASSERT_GT(run->bytes, 0u);
        ASSERT_LE(run->bytes, 8 * kMiB - offset);
        EXPECT_TRUE(run->data || offset + run->bytes <= 2 * kMiB || offset >= 3 * kMiB);
        data += run->data ? run->bytes : 0;
        offset += run->bytes;
    }
    EXPECT_GE(data, kMiB);
    EXPECT_EQ(file_->extent(2 * kMiB, 100)->bytes, 100u);
    ASSERT_TRUE(file_->punch_hole(2 * kMiB + 100, 4096));
    EXPECT_EQ(read(2 * kMiB + 99, 4098), [] {
        Bytes bytes(4098);
        bytes.front() = bytes.back() = 5;
        return bytes;
    }());
}

TEST_F(HostFile, ReservesRoomAndGrows) {
    const auto status = file_->allocate(0, 1 << 20);
    if (!status) {
        ASSERT_EQ(status.error().code, ErrorCode::Unsupported);
        GTEST_SKIP() << status.error().message;
    }
    EXPECT_EQ(*file_->size(), std::uint64_t{1} << 20);
    EXPECT_EQ(read(0, 4096), Bytes(4096));
    EXPECT_EQ(file_->allocate(0, std::uint64_t{1} << 62).error().code, ErrorCode::NoSpace);
}

TEST_F(HostFile, WritesPastTheCacheWhateverTheAlignment) {
    alignas(4096) static std::array<std::uint8_t, 3 * 4096> data;
    data.fill(0x31);
    ASSERT_TRUE(file_->write(4096, Bytes(4096, 1)));
    ASSERT_EQ(read(4096, 1), Bytes(1, 1)) << "in the cache now";
    ASSERT_TRUE(file_->write_uncached(4096, data));
    EXPECT_EQ(read(4096, data.size()), Bytes(data.size(), 0x31));
    ASSERT_TRUE(file_->write_uncached(100, ConstBuffer(data).subspan(1, 700)));
    ASSERT_TRUE(file_->write_uncached(30000, ConstBuffer(data).first(5000)));
    ASSERT_TRUE(file_->sync());
    EXPECT_EQ(read(99, 702)[0], 0);
    EXPECT_EQ(read(100, 700), Bytes(700, 0x31));
    EXPECT_EQ(read(30000, 5000), Bytes(5000, 0x31));
    EXPECT_EQ(*file_->size(), 35000u);
}

}  // namespace
}  // namespace vpc::disk
