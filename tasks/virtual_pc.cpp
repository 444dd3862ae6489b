#include "tasks/virtual_pc.h"

#include <algorithm>
#include <system_error>
#include <utility>
#include <vector>

#include "disk/open_image.h"
#include "disk/operations/create.h"
#include "tasks/host_files.h"
#include "tasks/start_task.h"

namespace vpc::tasks {
namespace {

constexpr std::uint64_t kMegabyte = 1 << 20;
constexpr std::uint64_t kLeastFree = 8 * kMegabyte;  // on the host's volume, as the original asks for

HResult check_room(const std::filesystem::path& file, std::uint64_t size, std::uint64_t needed) {
    HostVolume volume;
    if (const HResult found = find_volume(file, volume); found != HResult::S_OK) {
        return found;
    }
    if (volume.optical) {
        return HResult::ERROR_INVALID_DRIVE;
    }
    if (size > volume.largest_file) {
        return HResult::VM_E_FILE_TOO_LARGE_FOR_VOLUME;
    }
    return volume.free < needed ? HResult::ERROR_DISK_FULL : HResult::S_OK;
}

/// Makes the folders that are missing above a file, and removes those again unless keep() was called.
class MissingFolders {
  public:
    disk::Status make(const std::filesystem::path& folder) {
        std::error_code error;
        std::vector<std::filesystem::path> missing;
        for (auto each = folder; !std::filesystem::exists(each, error) && each.has_relative_path();
             each = each.parent_path()) {
            missing.push_back(each);
        }
        std::reverse(missing.begin(), missing.end());
        for (const std::filesystem::path& each : missing) {
            if (std::filesystem::create_directory(each, error)) {
                made_.push_back(each);
            } else if (error) {
                const bool denied = error == std::errc::permission_denied || error == std::errc::read_only_file_system;
                return disk::fail(denied ? disk::ErrorCode::AccessDenied : disk::ErrorCode::IoError,
                                  "cannot make the folder '" + each.string() + "': " + error.message());
            }
        }
        return {};
    }
    void keep() { made_.clear(); }
    MissingFolders() = default;
    MissingFolders(const MissingFolders&) = delete;
    MissingFolders& operator=(const MissingFolders&) = delete;
    ~MissingFolders() {
        std::error_code ignored;
        for (; !made_.empty(); made_.pop_back()) {
            std::filesystem::remove(made_.back(), ignored);  // empty ones only
        }
    }

  private:
    std::vector<std::filesystem::path> made_;
};

TaskWork creation(disk::NewImage image) {
    return disk_work([image = std::move(image)](const disk::Operation& operation) {
        MissingFolders folders;
        disk::Status status = folders.make(image.file.parent_path());
        if (status) {
            status = disk::create_image(image, operation);
        }
        if (status) {
            folders.keep();
        }
        return status;
    });
}

}  // namespace

VirtualPC::VirtualPC(Language language, std::filesystem::path machines)
    : language_(language), registry_(std::move(machines)) {}

HResult VirtualPC::create_disk(TaskKind kind, const std::filesystem::path& path, std::int32_t megabytes,
                               std::shared_ptr<IVMTask>& task) {
    if (megabytes <= 0) {
        return HResult::E_INVALIDARG;
    }
    if (megabytes < kSmallestDisk) {
        return HResult::VM_E_IMAGE_SIZE_TOO_SMALL;
    }
    if (megabytes > kLargestDisk) {
        return HResult::VM_E_IMAGE_SIZE_TOO_LARGE;
    }
    if (const HResult checked = check_new_file(path); checked != HResult::S_OK) {
        return checked;
    }
    const bool fixed = kind == TaskKind::CreateFixedVirtualHardDisk;
    const std::uint64_t size = static_cast<std::uint64_t>(megabytes) * kMegabyte;
    if (const HResult room = check_room(path, size, fixed ? size : kLeastFree); room != HResult::S_OK) {
        return room;
    }
    return start_task(worker_, tasks_, {.kind = kind, .subject = path.filename().string(), .language = language_},
                      creation({.file = path,
                                .type = fixed ? disk::ImageType::Fixed : disk::ImageType::Dynamic,
                                .size = size,
                                .reserve = fixed}),
                      task);
}

HResult VirtualPC::CreateDynamicVirtualHardDisk(const std::filesystem::path& path, std::int32_t megabytes,
                                                std::shared_ptr<IVMTask>& task) {
    return create_disk(TaskKind::CreateDynamicVirtualHardDisk, path, megabytes, task);
}

HResult VirtualPC::CreateFixedVirtualHardDisk(const std::filesystem::path& path, std::int32_t megabytes,
                                              std::shared_ptr<IVMTask>& task) {
    return create_disk(TaskKind::CreateFixedVirtualHardDisk, path, megabytes, task);
}

HResult VirtualPC::CreateDifferencingVirtualHardDisk(const std::filesystem::path& path,
                                                     const std::filesystem::path& parent,
                                                     std::shared_ptr<IVMTask>& task) {
    if (path.empty() || parent.empty() || (path.is_relative() && parent.is_relative())) {
        return HResult::ERROR_BAD_PATHNAME;
    }
    const auto child_file = (path.is_absolute() ? path : parent.parent_path() / path).lexically_normal();
    const auto parent_file = (parent.is_absolute() ? parent : path.parent_path() / parent).lexically_normal();
    for (const HResult checked : {check_new_file(child_file), check_path(parent_file)}) {
        if (checked != HResult::S_OK) {
            return checked;
        }
    }
    std::uint64_t size = 0;
    {
        const auto opened = disk::open_image(parent_file, disk::OpenMode::ReadOnly);
        if (!opened) {
            std::error_code ignored;
            return std::filesystem::exists(parent_file, ignored) ? outcome_of(tl::unexpected(opened.error())).error
                                                                 : HResult::VM_E_PARENT_PATH_NOT_FOUND;
        }
        size = (*opened)->sectors() * disk::kSectorSize;
    }
    if (const HResult room = check_room(child_file, size, kLeastFree); room != HResult::S_OK) {
        return room;
    }
    return start_task(worker_, tasks_,
                      {.kind = TaskKind::CreateDifferencingVirtualHardDisk,
                       .subject = child_file.filename().string(),
                       .language = language_},
                      creation({.file = child_file, .type = disk::ImageType::Differencing, .parent = parent_file}),
                      task);
}

HResult VirtualPC::GetHardDisk(const std::filesystem::path& path, std::shared_ptr<HardDisk>& disk) {
    if (const HResult checked = check_path(path); checked != HResult::S_OK) {
        return checked;
    }
    std::error_code ignored;
    if (!std::filesystem::is_directory(path.parent_path(), ignored)) {
        return HResult::ERROR_PATH_NOT_FOUND;
    }
    if (!std::filesystem::exists(path, ignored)) {
        return HResult::ERROR_FILE_NOT_FOUND;
    }
    disk = std::make_shared<HardDisk>(path, worker_, tasks_, language_);
    return HResult::S_OK;
}

}  // namespace vpc::tasks
