#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <numeric>
#include <optional>
#include <vector>

#include "disk/file.h"
#include "disk/reads_at_once.h"
#include "tests/disk/image_builder.h"
#include "tests/disk/temporary_folder.h"

namespace vpc::disk {
namespace {

using testing::build_fixed;
using testing::TemporaryFolder;

ErrorCode code_of_opening(const std::filesystem::path& path, OpenMode mode) {
    const auto device = open_image(path, mode);
    EXPECT_FALSE(device.has_value());
    if (device) {
        return ErrorCode::Cancelled;
    }
    EXPECT_NE(device.error().message.find(path.filename().string()), std::string::npos) << device.error().message;
    EXPECT_EQ(device.error().message.find('\n'), std::string::npos);
    return device.error().code;
}

/// Runs `work` in a child process and returns its exit status.
template <typename Work>
int in_child(Work work) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::_exit(work());
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(PosixFile, RefusesWhatIsNoFileInOneLineThatNamesIt) {
    const TemporaryFolder folder;
    std::filesystem::create_directory(folder / "directory");
    ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
    for (const OpenMode mode : {OpenMode::ReadOnly, OpenMode::ReadWrite}) {
        EXPECT_EQ(code_of_opening(folder / "missing.vhd", mode), ErrorCode::NotFound);
        EXPECT_EQ(code_of_opening(folder / "directory", mode), ErrorCode::NotAnImage);
        EXPECT_EQ(code_of_opening(folder / "pipe", mode), ErrorCode::NotAnImage);
        EXPECT_EQ(code_of_opening("/dev/null", mode), ErrorCode::NotAnImage);
        EXPECT_EQ(code_of_opening(folder.write("empty", {}), mode), ErrorCode::NotAnImage);
    }
}

TEST(PosixFile, ReplacesControlCharactersInMessages) {
    const TemporaryFolder folder;
    const auto file = open_file(folder / "two\nlines", OpenMode::ReadOnly);
    ASSERT_FALSE(file.has_value());
    EXPECT_NE(file.error().message.find("two?lines"), std::string::npos);
}

TEST(PosixFile, WithoutPermissionIsAccessDenied) {
    const TemporaryFolder folder;
    const auto image = folder.write("image.vhd", build_fixed(100));
    ::chmod(folder.path().c_str(), 0755);
    ::chmod(image.c_str(), 0444);
    const int result = in_child([&] {
        if (::geteuid() == 0 && ::seteuid(65534) != 0) {
            return 77;
        }
        if (!open_image(image, OpenMode::ReadOnly)) {
            return 1;
        }
        const auto device = open_image(image, OpenMode::ReadWrite);
        return !device && device.error().code == ErrorCode::AccessDenied ? 0 : 2;
    });
    if (result == 77) {
        GTEST_SKIP() << "cannot become a user without rights";
    }
    EXPECT_EQ(result, 0);
}

TEST(PosixFile, MovesMoreBuffersThanOneSystemCallTakes) {
    const TemporaryFolder folder;
    const auto file = open_file(folder.write("data", std::vector<std::uint8_t>(1)), OpenMode::ReadWrite);
    ASSERT_TRUE(file.has_value());
    std::vector<std::uint8_t> out(3000);
    std::iota(out.begin(), out.end(), std::uint8_t{3});
    std::vector<ConstBuffer> pieces;
    for (std::size_t i = 0; i < out.size(); i += 3) {
        pieces.push_back(ConstBuffer(out).subspan(i, 3));
        pieces.push_back({});
    }
    ASSERT_TRUE((*file)->write(7, pieces).has_value());
    EXPECT_EQ(*(*file)->size(), 3007u);
    std::vector<std::uint8_t> in(3000);
    std::vector<Buffer> targets;
    for (std::size_t i = 0; i < in.size(); i += 5) {
        targets.push_back(Buffer(in).subspan(i, 5));
    }
    ASSERT_TRUE((*file)->read(7, targets).has_value());
    EXPECT_EQ(in, out);
    EXPECT_TRUE((*file)->sync().has_value());
    ASSERT_TRUE((*file)->truncate(10).has_value());
    EXPECT_EQ(*(*file)->size(), 10u);
}

TEST(PosixFile, ReadingBeyondTheEndIsAnErrorThatNamesTheFile) {
    const TemporaryFolder folder;
    const auto file = open_file(folder.write("short", std::vector<std::uint8_t>(10)), OpenMode::ReadOnly);
    ASSERT_TRUE(file.has_value());
    std::array<std::uint8_t, 11> bytes;
    const Status status = (*file)->read(0, Buffer(bytes));
    ASSERT_FALSE(status.has_value());
    EXPECT_EQ(status.error().code, ErrorCode::IoError);
    EXPECT_NE(status.error().message.find("short"), std::string::npos);
    EXPECT_FALSE((*file)->read(0xFFFF'FFFF'FFFF'FFF0, Buffer(bytes)).has_value());
}

TEST(PosixFile, ReadsAtOnceWhatTheHostHasInMemoryOrSaysThatItWouldWait) {
    const TemporaryFolder folder;
    std::vector<std::uint8_t> written(1 << 20);
    std::iota(written.begin(), written.end(), std::uint8_t{7});
    const auto path = folder.write("file", written);
    const auto file = open_file(path, OpenMode::ReadWrite);
    ASSERT_TRUE(file.has_value());
    const auto read = [&](bool at_once) {
        std::vector<std::uint8_t> bytes(written.size());
        Status status;
        if (at_once) {
            const ReadsAtOnce guard;
            status = (*file)->read(0, Buffer(bytes));
        } else {
            status = (*file)->read(0, Buffer(bytes));
        }
        EXPECT_TRUE(!status || bytes == written);
        return status ? std::optional<ErrorCode>() : status.error().code;
    };
    EXPECT_EQ(read(false), std::nullopt);
    const auto in_memory = read(true);
    EXPECT_TRUE(!in_memory || *in_memory == ErrorCode::WouldWait);  // a file system may be unable to tell
    ASSERT_TRUE((*file)->sync());
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_EQ(::posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED), 0);
    ::close(descriptor);
    const auto dropped = read(true);
    EXPECT_TRUE(!dropped || *dropped == ErrorCode::WouldWait);
    EXPECT_EQ(read(false), std::nullopt);
}

TEST(PosixFile, IsNotInheritedByPrograms) {
    const TemporaryFolder folder;
    const auto highest = [] {
        const int descriptor = ::dup(0);
        ::close(descriptor);
        return descriptor;
    };
    const int descriptor = highest();
    const auto file = open_file(folder.write("data", std::vector<std::uint8_t>(1)), OpenMode::ReadOnly);
    ASSERT_TRUE(file.has_value());
    EXPECT_EQ(::fcntl(descriptor, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST(PosixFile, TemporaryFileLeavesNothingInItsFolder) {
    const TemporaryFolder folder;
    const char* const previous = std::getenv("TMPDIR");
    const std::string saved = previous != nullptr ? previous : "";
    ::setenv("TMPDIR", folder.path().c_str(), 1);
    const auto file = create_temporary_file();
    ::setenv("TMPDIR", (folder / "missing").c_str(), 1);
    const auto missing = create_temporary_file();
    previous != nullptr ? ::setenv("TMPDIR", saved.c_str(), 1) : ::unsetenv("TMPDIR");
    ASSERT_TRUE(file.has_value());
    ASSERT_TRUE((*file)->write(1 << 20, ConstBuffer(std::array<std::uint8_t, 3>{1, 2, 3})).has_value());
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
    ASSERT_FALSE(missing.has_value());
    EXPECT_EQ(missing.error().code, ErrorCode::NotFound);
    EXPECT_NE(missing.error().message.find("TMPDIR"), std::string::npos);
}

TEST(ImageLock, AllowsOneWriterOrManyReadersWithinAProcess) {
    const TemporaryFolder folder;
    const auto image = folder.write("image.vhd", build_fixed(100));
    {
        const auto writer = open_image(image, OpenMode::ReadWrite);
        ASSERT_TRUE(writer.has_value());
        EXPECT_EQ(code_of_opening(image, OpenMode::ReadWrite), ErrorCode::InUse);
        EXPECT_EQ(code_of_opening(image, OpenMode::ReadOnly), ErrorCode::InUse);
    }
    const auto reader = open_image(image, OpenMode::ReadOnly);
    EXPECT_TRUE(reader.has_value());
    EXPECT_TRUE(open_image(image, OpenMode::ReadOnly).has_value());
    EXPECT_EQ(code_of_opening(image, OpenMode::ReadWrite), ErrorCode::InUse);
}

TEST(ImageLock, HoldsAgainstAnotherProcessAndDiesWithIt) {
    const TemporaryFolder folder;
    const auto image = folder.write("image.vhd", build_fixed(100));
    {
        const auto writer = open_image(image, OpenMode::ReadWrite);
        ASSERT_TRUE(writer.has_value());
        // The child opens the file anew; it inherits the writer's descriptor, but not the right to lock twice.
        EXPECT_EQ(in_child([&] {
                      const auto second = open_image(image, OpenMode::ReadOnly);
                      return !second && second.error().code == ErrorCode::InUse ? 0 : 1;
                  }),
                  0);
    }
    int ready[2];
    ASSERT_EQ(::pipe(ready), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        const auto writer = open_image(image, OpenMode::ReadWrite);
        const char answer = writer ? 'y' : 'n';
        if (::write(ready[1], &answer, 1) != 1) {
            ::_exit(1);
        }
        ::pause();
        ::_exit(0);
    }
    char answer = 0;
    ASSERT_EQ(::read(ready[0], &answer, 1), 1);
    EXPECT_EQ(answer, 'y');
    EXPECT_EQ(code_of_opening(image, OpenMode::ReadOnly), ErrorCode::InUse);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    EXPECT_TRUE(open_image(image, OpenMode::ReadWrite).has_value());
    ::close(ready[0]);
    ::close(ready[1]);
}

}  // namespace
}  // namespace vpc::disk
