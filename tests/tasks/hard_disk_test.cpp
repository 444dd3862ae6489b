// Every method of the disks x success, bad argument, wrong state, cancel early, cancel late, failure in the middle,
// wait time-out; on real images.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstring>
#include <functional>
#include <future>
#include <random>
#include <utility>

#include "disk/block_device.h"
#include "disk/operations/create.h"
#include "tasks/host_files.h"
#include "tasks/virtual_pc.h"
#include "tests/disk/temporary_folder.h"
#include "tests/tasks/busy_worker.h"

namespace vpc::tasks {
namespace {

using disk::testing::TemporaryFolder;
using Task = std::shared_ptr<IVMTask>;

constexpr std::int32_t kMegabytes = 24;
constexpr std::size_t kBlock = 2 << 20;

std::vector<std::uint8_t> noise(std::size_t bytes, unsigned seed) {
    std::mt19937 random(seed);
    std::vector<std::uint8_t> data(bytes);
    for (std::size_t i = 0; i < bytes; i += sizeof(std::uint32_t)) {
        const auto word = static_cast<std::uint32_t>(random());
        std::memcpy(&data[i], &word, sizeof(word));
    }
    return data;
}

void write_block(const std::filesystem::path& file, std::uint64_t block, const std::vector<std::uint8_t>& data) {
    const auto image = disk::open_image(file, disk::OpenMode::ReadWrite);
    ASSERT_TRUE(image) << image.error().message;
    ASSERT_TRUE((*image)->write(block * kBlock / disk::kSectorSize, disk::ConstBuffer(data)));
    ASSERT_TRUE((*image)->flush());
}

/// The whole disk; empty when it cannot be read.
std::vector<std::uint8_t> contents(const std::filesystem::path& file) {
    const auto image = disk::open_image(file, disk::OpenMode::ReadOnly);
    if (!image) {
        ADD_FAILURE() << image.error().message;
        return {};
    }
    std::vector<std::uint8_t> data((*image)->sectors() * disk::kSectorSize);
    EXPECT_TRUE((*image)->read(0, disk::Buffer(data)));
    return data;
}

void create(const disk::NewImage& image) {
    const auto status = disk::create_image(image, {});
    ASSERT_TRUE(status) << status.error().message;
}

/// A dynamic disk with noise and written zeros in turn, its child with noise of its own, and where new disks go.
class Disks {
  public:
    Disks() {
        create({.file = parent(), .size = std::uint64_t{kMegabytes} << 20});
        for (unsigned block = 0; block < kMegabytes / 2; ++block) {
            write_block(parent(), block, block % 3 == 0 ? std::vector<std::uint8_t>(kBlock) : noise(kBlock, block));
        }
        // Zeros into blocks that are there: what compacting is for.
        for (unsigned block = 0; block < kMegabytes / 2; block += 4) {
            write_block(parent(), block, noise(kBlock, 100 + block));
            write_block(parent(), block, std::vector<std::uint8_t>(kBlock));
        }
        parent_contents = contents(parent());
        create({.file = child(), .type = disk::ImageType::Differencing, .parent = parent()});
        for (unsigned block = 1; block < kMegabytes / 2; block += 2) {
            write_block(child(), block, noise(kBlock, 200 + block));
        }
        child_contents = contents(child());
        parent_size = std::filesystem::file_size(parent());
    }
    std::filesystem::path parent() const { return folder / "parent.vhd"; }
    std::filesystem::path child() const { return folder / "child.vhd"; }
    std::filesystem::path made() const { return folder / "new.vhd"; }

    std::shared_ptr<HardDisk> hard_disk(const std::filesystem::path& file) {
        std::shared_ptr<HardDisk> disk;
        EXPECT_EQ(pc.GetHardDisk(file, disk), HResult::S_OK);
        return disk;
    }

    TemporaryFolder folder;
    std::vector<std::uint8_t> parent_contents;
    std::vector<std::uint8_t> child_contents;
    std::uintmax_t parent_size = 0;
    VirtualPC pc;  // last: its tasks end before the folder goes
};

struct Subject {
    const char* name;
    std::function<HResult(Disks&, Task&)> start;
    std::function<void(Disks&)> expect_done;
    /// What a cancelled or failed task leaves.
    std::function<void(Disks&)> expect_undone;
    /// The file that must not be in use.
    std::filesystem::path (Disks::*in_use)() const = nullptr;
    /// So little is to be done that the first progress is that of the finished file, unless the host is slow: a cancel
    /// comes too late then.
    bool in_one_step = false;
};

void expect_no_new_file(Disks& disks) {
    EXPECT_FALSE(std::filesystem::exists(disks.made()));
    EXPECT_EQ(contents(disks.parent()), disks.parent_contents);
    EXPECT_EQ(contents(disks.child()), disks.child_contents);
}

/// `holds`: what the new file has to hold; null: zeros.
void expect_new_file(Disks& disks, VMHardDiskType type, const std::vector<std::uint8_t>* holds) {
    const auto disk = disks.hard_disk(disks.made());
    ASSERT_TRUE(disk);
    VMHardDiskType found{};
    EXPECT_EQ(disk->Type(found), HResult::S_OK);
    EXPECT_EQ(found, type);
    std::uint64_t bytes = 0;
    EXPECT_EQ(disk->SizeInGuest(bytes), HResult::S_OK);
    EXPECT_EQ(bytes, std::uint64_t{kMegabytes} << 20);
    EXPECT_EQ(contents(disks.made()), holds != nullptr ? *holds : std::vector<std::uint8_t>(bytes));
    EXPECT_EQ(contents(disks.parent()), disks.parent_contents);
    EXPECT_EQ(contents(disks.child()), disks.child_contents);
}

const Subject kSubjects[] = {
    {"CreateDynamicVirtualHardDisk",
     [](Disks& d, Task& task) { return d.pc.CreateDynamicVirtualHardDisk(d.made(), kMegabytes, task); },
     [](Disks& d) { expect_new_file(d, VMHardDiskType::Dynamic, nullptr); }, expect_no_new_file, nullptr, true},
    {"CreateFixedVirtualHardDisk",
     [](Disks& d, Task& task) { return d.pc.CreateFixedVirtualHardDisk(d.made(), kMegabytes, task); },
     [](Disks& d) { expect_new_file(d, VMHardDiskType::FixedSize, nullptr); }, expect_no_new_file, nullptr, true},
    {"CreateDifferencingVirtualHardDisk",
     [](Disks& d, Task& task) { return d.pc.CreateDifferencingVirtualHardDisk(d.made(), d.parent(), task); },
     [](Disks& d) { expect_new_file(d, VMHardDiskType::Differencing, &d.parent_contents); }, expect_no_new_file,
     &Disks::parent, true},
    {"Compact", [](Disks& d, Task& task) { return d.hard_disk(d.parent())->Compact(task); },
     [](Disks& d) {
         EXPECT_EQ(contents(d.parent()), d.parent_contents);
         EXPECT_LT(std::filesystem::file_size(d.parent()), d.parent_size - kBlock);
     },
     [](Disks& d) { expect_no_new_file(d); }, &Disks::parent},
    {"Convert",
     [](Disks& d, Task& task) { return d.hard_disk(d.parent())->Convert(d.made(), VMHardDiskType::FixedSize, task); },
     [](Disks& d) { expect_new_file(d, VMHardDiskType::FixedSize, &d.parent_contents); }, expect_no_new_file,
     &Disks::parent},
    {"Merge", [](Disks& d, Task& task) { return d.hard_disk(d.child())->Merge(task); },
     [](Disks& d) {
         EXPECT_FALSE(std::filesystem::exists(d.child()));
         EXPECT_EQ(contents(d.parent()), d.child_contents);
     },
     [](Disks& d) { EXPECT_EQ(contents(d.child()), d.child_contents); }, &Disks::child},
    {"MergeTo",
     [](Disks& d, Task& task) { return d.hard_disk(d.child())->MergeTo(d.made(), VMHardDiskType::Dynamic, task); },
     [](Disks& d) { expect_new_file(d, VMHardDiskType::Dynamic, &d.child_contents); }, expect_no_new_file,
     &Disks::child},
};

class DiskMethod : public ::testing::TestWithParam<Subject> {
  protected:
    HResult start(Task& task) { return GetParam().start(disks, task); }

    Disks disks;
};

TEST_P(DiskMethod, Succeeds) {
    Task task;
    ASSERT_EQ(start(task), HResult::S_OK);
    task->WaitForCompletion(-1);
    EXPECT_EQ(task->Result(), VMTaskResult::Success) << task->ErrorDescription();
    EXPECT_EQ(task->Error(), HResult::S_OK);
    EXPECT_EQ(task->PercentCompleted(), 100);
    EXPECT_FALSE(task->Description().empty());
    Task listed;
    EXPECT_EQ(disks.pc.Tasks().Item(disks.pc.Tasks().Count(), listed), HResult::S_OK);
    EXPECT_EQ(listed, task);
    GetParam().expect_done(disks);
}

TEST_P(DiskMethod, CancelledEarlyNeverBegins) {
    Task task;
    {
        const testing::BusyWorker busy(disks.pc.worker());
        ASSERT_EQ(start(task), HResult::S_OK);
        EXPECT_TRUE(task->IsCancelable());
        EXPECT_EQ(task->Cancel(), HResult::S_OK);
        EXPECT_TRUE(task->IsComplete());
    }
    EXPECT_EQ(task->Result(), VMTaskResult::Cancelled);
    EXPECT_EQ(task->Error(), HResult::E_ABORT);
    EXPECT_EQ(task->PercentCompleted(), 0);
    GetParam().expect_undone(disks);
}

// The work stands still in its middle while it is cancelled.
TEST_P(DiskMethod, CancelledInTheMiddleLeavesTheOld) {
    Task task;
    std::promise<std::int32_t> reached;
    std::promise<void> cancelled;
    {
        const testing::BusyWorker busy(disks.pc.worker());
        ASSERT_EQ(start(task), HResult::S_OK);
        task->OnProgress([&, stands = false](std::int32_t percent) mutable {
            if (!std::exchange(stands, true)) {
                reached.set_value(percent);
                cancelled.get_future().wait();
            }
        });
    }
    const std::int32_t percent = reached.get_future().get();
    EXPECT_GT(percent, 0);
    EXPECT_LT(percent, 100);
    EXPECT_FALSE(task->IsComplete());
    EXPECT_TRUE(task->IsCancelable());
    EXPECT_EQ(task->Cancel(), HResult::S_OK);
    cancelled.set_value();
    task->WaitForCompletion(-1);
    if (!GetParam().in_one_step || task->Result() == VMTaskResult::Cancelled) {
        EXPECT_EQ(task->Result(), VMTaskResult::Cancelled) << "at " << percent << " %";
        EXPECT_LT(task->PercentCompleted(), 100);
        GetParam().expect_undone(disks);
        EXPECT_EQ(start(task), HResult::S_OK);  // it can be done again
        task->WaitForCompletion(-1);
    }
    EXPECT_EQ(task->Result(), VMTaskResult::Success) << task->ErrorDescription();
    GetParam().expect_done(disks);
}

// The host refuses writes behind the first few KiB of any file.
TEST_P(DiskMethod, FailsInTheMiddle) {
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    Task task;
    {
        rlimit small = before;
        small.rlim_cur = 600;
        ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
        const HResult started = start(task);
        if (task) {
            task->WaitForCompletion(-1);
        }
        ::setrlimit(RLIMIT_FSIZE, &before);
        std::signal(SIGXFSZ, handler);
        ASSERT_EQ(started, HResult::S_OK);
    }
    EXPECT_NE(task->Result(), VMTaskResult::Success);
    EXPECT_NE(task->Result(), VMTaskResult::Cancelled);
    EXPECT_FALSE(succeeded(task->Error()));
    EXPECT_FALSE(task->ErrorDescription().empty());
    EXPECT_LT(task->PercentCompleted(), 100);
    GetParam().expect_undone(disks);
    ASSERT_EQ(start(task), HResult::S_OK);
    task->WaitForCompletion(-1);
    EXPECT_EQ(task->Result(), VMTaskResult::Success) << task->ErrorDescription();
    GetParam().expect_done(disks);
}

TEST_P(DiskMethod, WaitsNoLongerThanAsked) {
    Task task;
    {
        const testing::BusyWorker busy(disks.pc.worker());
        ASSERT_EQ(start(task), HResult::S_OK);
        EXPECT_EQ(task->WaitForCompletion(10), HResult::S_OK);
        EXPECT_FALSE(task->IsComplete());
        EXPECT_EQ(task->Error(), HResult::E_PENDING);
        EXPECT_EQ(task->WaitForCompletion(4'000'001), HResult::E_INVALIDARG);
    }
    task->WaitForCompletion(-1);
    GetParam().expect_done(disks);
}

TEST_P(DiskMethod, RefusesAfterTheEndOfTheProgram) {
    disks.pc.shut_down();
    Task task;
    EXPECT_EQ(start(task), HResult::VM_E_APP_SHUTTING_DOWN);
    EXPECT_EQ(task, nullptr);
    GetParam().expect_undone(disks);
}

TEST_P(DiskMethod, RefusesAnImageInUse) {
    if (GetParam().in_use == nullptr) {
        return;  // it uses none
    }
    const auto other = disk::open_image((disks.*GetParam().in_use)(), disk::OpenMode::ReadWrite);
    ASSERT_TRUE(other);
    Task task;
    EXPECT_EQ(start(task), HResult::ERROR_SHARING_VIOLATION);
    EXPECT_EQ(task, nullptr);
}

INSTANTIATE_TEST_SUITE_P(All, DiskMethod, ::testing::ValuesIn(kSubjects),
                         [](const auto& parameter) { return std::string(parameter.param.name); });

TEST(VirtualPC, ChecksArgumentsOfNewDisksAtOnce) {
    Disks disks;
    VirtualPC& pc = disks.pc;
    using Create = HResult (VirtualPC::*)(const std::filesystem::path&, std::int32_t, Task&);
    const auto creates = {Create(&VirtualPC::CreateDynamicVirtualHardDisk),
                          Create(&VirtualPC::CreateFixedVirtualHardDisk)};
    for (const Create create : creates) {
        const std::tuple<std::filesystem::path, std::int32_t, HResult> cases[] = {
            {disks.made(), 0, HResult::E_INVALIDARG},
            {disks.made(), -5, HResult::E_INVALIDARG},
            {disks.made(), 2, HResult::VM_E_IMAGE_SIZE_TOO_SMALL},
            {disks.made(), 2'088'961, HResult::VM_E_IMAGE_SIZE_TOO_LARGE},
            {"", 10, HResult::ERROR_BAD_PATHNAME},
            {"relative.vhd", 10, HResult::ERROR_BAD_PATHNAME},
            {disks.folder / "what?.vhd", 10, HResult::ERROR_INVALID_NAME},
            {disks.folder / "", 10, HResult::ERROR_INVALID_NAME},
            {disks.folder / std::string(5000, 'a'), 10, HResult::ERROR_BUFFER_OVERFLOW},
            {disks.parent(), 10, HResult::ERROR_ALREADY_EXISTS},
        };
        for (const auto& [path, size, expected] : cases) {
            Task task;
            EXPECT_EQ((pc.*create)(path, size, task), expected) << path << " " << size;
            EXPECT_EQ(task, nullptr);
        }
    }
    Task task;
    EXPECT_EQ(pc.CreateFixedVirtualHardDisk(disks.made(), VirtualPC::kLargestDisk, task), HResult::ERROR_DISK_FULL);
    EXPECT_FALSE(std::filesystem::exists(disks.made()));
}

TEST(VirtualPC, ChecksArgumentsOfDifferencingDisksAtOnce) {
    Disks disks;
    disks.folder.write("text.txt", std::vector<std::uint8_t>(100));
    const std::tuple<std::filesystem::path, std::filesystem::path, HResult> cases[] = {
        {"a.vhd", "b.vhd", HResult::ERROR_BAD_PATHNAME},
        {"", disks.parent(), HResult::ERROR_BAD_PATHNAME},
        {disks.made(), "", HResult::ERROR_BAD_PATHNAME},
        {disks.child(), disks.parent(), HResult::ERROR_ALREADY_EXISTS},
        {disks.made(), disks.folder / "none.vhd", HResult::VM_E_PARENT_PATH_NOT_FOUND},
        {disks.made(), disks.folder / "text.txt", HResult::VM_E_INVALID_HD_FILE},
        {disks.folder / "a|b.vhd", disks.parent(), HResult::ERROR_INVALID_NAME},
    };
    for (const auto& [path, parent, expected] : cases) {
        Task task;
        EXPECT_EQ(disks.pc.CreateDifferencingVirtualHardDisk(path, parent, task), expected) << path << " " << parent;
        EXPECT_EQ(task, nullptr);
    }
}

TEST(VirtualPC, TakesOneRelativePathOfADifferencingDisk) {
    Disks disks;
    Task task;
    ASSERT_EQ(disks.pc.CreateDifferencingVirtualHardDisk("beside.vhd", disks.parent(), task), HResult::S_OK);
    task->WaitForCompletion(-1);
    EXPECT_EQ(contents(disks.folder / "beside.vhd"), disks.parent_contents);
    ASSERT_EQ(disks.pc.CreateDifferencingVirtualHardDisk(disks.folder / "sub" / "below.vhd", "../parent.vhd", task),
              HResult::S_OK);
    task->WaitForCompletion(-1);
    EXPECT_EQ(contents(disks.folder / "sub" / "below.vhd"), disks.parent_contents);
}

TEST(VirtualPC, MakesMissingFoldersAndTakesThemBackAfterAFailure) {
    Disks disks;
    const auto file = disks.folder / "a" / "b" / "disk.vhd";
    Task task;
    {
        rlimit before{};
        ::getrlimit(RLIMIT_FSIZE, &before);
        const auto handler = std::signal(SIGXFSZ, SIG_IGN);
        rlimit small = before;
        small.rlim_cur = 600;
        ::setrlimit(RLIMIT_FSIZE, &small);
        const HResult started = disks.pc.CreateDynamicVirtualHardDisk(file, 10, task);
        if (task) {
            task->WaitForCompletion(-1);
        }
        ::setrlimit(RLIMIT_FSIZE, &before);
        std::signal(SIGXFSZ, handler);
        ASSERT_EQ(started, HResult::S_OK);
    }
    EXPECT_FALSE(succeeded(task->Error()));
    EXPECT_FALSE(std::filesystem::exists(disks.folder / "a"));
    ASSERT_EQ(disks.pc.CreateDynamicVirtualHardDisk(file, 10, task), HResult::S_OK);
    task->WaitForCompletion(-1);
    EXPECT_EQ(task->Error(), HResult::S_OK) << task->ErrorDescription();
    EXPECT_TRUE(std::filesystem::exists(file));
}

TEST(VirtualPC, FindsDisks) {
    Disks disks;
    std::shared_ptr<HardDisk> disk;
    EXPECT_EQ(disks.pc.GetHardDisk("", disk), HResult::ERROR_BAD_PATHNAME);
    EXPECT_EQ(disks.pc.GetHardDisk("parent.vhd", disk), HResult::ERROR_BAD_PATHNAME);
    EXPECT_EQ(disks.pc.GetHardDisk(disks.folder / "none.vhd", disk), HResult::ERROR_FILE_NOT_FOUND);
    EXPECT_EQ(disks.pc.GetHardDisk(disks.folder / "none" / "none.vhd", disk), HResult::ERROR_PATH_NOT_FOUND);
    EXPECT_EQ(disk, nullptr);
}

TEST(HardDisk, TellsWhatItIs) {
    Disks disks;
    const auto child = disks.hard_disk(disks.child());
    const auto parent = disks.hard_disk(disks.parent());
    VMHardDiskType type{};
    EXPECT_EQ(child->Type(type), HResult::S_OK);
    EXPECT_EQ(type, VMHardDiskType::Differencing);
    std::shared_ptr<HardDisk> above;
    EXPECT_EQ(child->Parent(above), HResult::S_OK);
    ASSERT_TRUE(above);
    EXPECT_TRUE(std::filesystem::equivalent(above->File(), disks.parent()));
    EXPECT_EQ(parent->Parent(above), HResult::S_FALSE);
    std::uint64_t bytes = 0;
    EXPECT_EQ(parent->SizeOnHost(bytes), HResult::S_OK);
    EXPECT_EQ(bytes, disks.parent_size);
    EXPECT_EQ(parent->HostFreeDiskSpace(bytes), HResult::S_OK);
    EXPECT_GT(bytes, 0u);
    disks.folder.write("disk.img", std::vector<std::uint8_t>(4096));
    EXPECT_EQ(disks.hard_disk(disks.folder / "disk.img")->Type(type), HResult::VM_E_DRIVE_INVALID);
}

TEST(HardDisk, RefusesImagesOfTheWrongType) {
    Disks disks;
    Task task;
    EXPECT_EQ(disks.hard_disk(disks.child())->Compact(task), HResult::VM_E_WRONG_HD_IMAGE_TYPE);
    EXPECT_EQ(disks.hard_disk(disks.parent())->Merge(task), HResult::VM_E_WRONG_HD_IMAGE_TYPE);
    EXPECT_EQ(disks.hard_disk(disks.parent())->MergeTo(disks.made(), VMHardDiskType::Dynamic, task),
              HResult::VM_E_WRONG_HD_IMAGE_TYPE);
    for (const auto type : {VMHardDiskType::Differencing, static_cast<VMHardDiskType>(4)}) {
        EXPECT_EQ(disks.hard_disk(disks.child())->MergeTo(disks.made(), type, task), HResult::VM_E_WRONG_HD_IMAGE_TYPE);
        EXPECT_EQ(disks.hard_disk(disks.child())->Convert(disks.made(), type, task), HResult::VM_E_WRONG_HD_IMAGE_TYPE);
    }
    EXPECT_EQ(task, nullptr);
}

TEST(HardDisk, ChecksTargetsAtOnce) {
    Disks disks;
    const auto child = disks.hard_disk(disks.child());
    for (const auto method : {&HardDisk::Convert, &HardDisk::MergeTo}) {
        const std::pair<std::filesystem::path, HResult> cases[] = {
            {"", HResult::E_INVALIDARG},
            {disks.folder / "new.img", HResult::E_INVALIDARG},
            {"new.vhd", HResult::ERROR_BAD_PATHNAME},
            {disks.folder / "a*b.vhd", HResult::ERROR_INVALID_NAME},
            {disks.folder / "none" / "new.vhd", HResult::ERROR_PATH_NOT_FOUND},
            {disks.parent(), HResult::ERROR_ALREADY_EXISTS},
        };
        for (const auto& [path, expected] : cases) {
            Task task;
            EXPECT_EQ((child.get()->*method)(path, VMHardDiskType::Dynamic, task), expected) << path;
            EXPECT_EQ(task, nullptr);
        }
    }
}

TEST(HardDisk, RefusesReadOnlyFiles) {
    Disks disks;
    const auto child = disks.hard_disk(disks.child());
    std::filesystem::permissions(disks.parent(), std::filesystem::perms::owner_read);
    Task task;
    EXPECT_EQ(disks.hard_disk(disks.parent())->Compact(task), HResult::VM_E_FILE_READ_ONLY);
    EXPECT_EQ(child->Merge(task), HResult::VM_E_FILE_READ_ONLY);
    EXPECT_EQ(task, nullptr);
    EXPECT_EQ(contents(disks.child()), disks.child_contents);
}

TEST(HardDisk, RefusesChainsThatBreakOff) {
    Disks disks;
    const auto child = disks.hard_disk(disks.child());
    std::filesystem::rename(disks.parent(), disks.folder / "elsewhere.bin");
    Task task;
    for (const HResult refused : {child->Compact(task), child->Convert(disks.made(), VMHardDiskType::Dynamic, task),
                                  child->Merge(task), child->MergeTo(disks.made(), VMHardDiskType::Dynamic, task)}) {
        EXPECT_EQ(refused, HResult::VM_E_PARENT_PATH_NOT_FOUND);
    }
    create({.file = disks.parent(), .size = std::uint64_t{kMegabytes} << 20});
    EXPECT_EQ(child->Merge(task), HResult::VM_E_PARENT_CHILD_ID_MISMATCH);
    std::filesystem::remove(disks.child());
    EXPECT_EQ(child->Merge(task), HResult::ERROR_FILE_NOT_FOUND);
    EXPECT_EQ(task, nullptr);
}

TEST(HostVolume, KnowsWhatFileSystemsCannotHold) {
    EXPECT_EQ(volume_of_kind(0x4D44).largest_file, 0xFFFFFFFFu);
    EXPECT_GT(volume_of_kind(0xEF53).largest_file, std::uint64_t{1} << 42);
    EXPECT_TRUE(volume_of_kind(0x9660).optical);
    EXPECT_FALSE(volume_of_kind(0xEF53).optical);
}

}  // namespace
}  // namespace vpc::tasks
