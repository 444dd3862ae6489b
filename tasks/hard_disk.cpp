#include "tasks/hard_disk.h"

#include <algorithm>
#include <cctype>
#include <exception>
#include <string>
#include <system_error>
#include <utility>

#include "disk/open_image.h"
#include "disk/operations/compact.h"
#include "disk/operations/convert.h"
#include "disk/operations/merge.h"
#include "tasks/host_files.h"
#include "tasks/start_task.h"

namespace vpc::tasks {
namespace {

HResult code_of(const disk::Error& error) {
    return outcome_of(tl::unexpected(error)).error;
}

/// Could it be opened for writing now? A machine or another task may have it.
HResult probe_writable(const std::filesystem::path& file) {
    if (marked_read_only(file)) {
        return HResult::VM_E_FILE_READ_ONLY;
    }
    const auto image = disk::open_image(file, disk::OpenMode::ReadWrite);
    return image ? HResult::S_OK : code_of(image.error());
}

bool has_vhd_extension(const std::filesystem::path& path) {
    std::string extension = path.extension().string();
    std::transform(extension.begin(), extension.end(), extension.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return extension == ".vhd";
}

disk::ConvertTarget target_of(const std::filesystem::path& path, VMHardDiskType type) {
    const bool fixed = type == VMHardDiskType::FixedSize;
    return {.file = path, .type = fixed ? disk::ImageType::Fixed : disk::ImageType::Dynamic, .reserve = fixed};
}

}  // namespace

HardDisk::HardDisk(std::filesystem::path file, Worker& worker, TaskCollection& tasks, Language language)
    : file_(std::move(file)), worker_(worker), tasks_(tasks), language_(language) {}

HResult HardDisk::chain(std::vector<disk::ChainLink>& links) const {
    auto read = disk::read_chain(file_);
    if (!read) {
        return code_of(read.error());
    }
    links = std::move(*read);
    const std::optional<disk::Error>& problem = links.back().parent_problem;
    if (problem && problem->code == disk::ErrorCode::NotFound) {
        return HResult::VM_E_PARENT_PATH_NOT_FOUND;
    }
    return problem ? code_of(*problem) : HResult::S_OK;
}

HResult HardDisk::start(TaskKind kind, std::shared_ptr<IVMTask>& task, TaskWork work) {
    return start_task(worker_, tasks_, {.kind = kind, .subject = file_.filename().string(), .language = language_},
                      std::move(work), task);
}

// ---- properties ----------------------------------------------------------------------------------------------------

HResult HardDisk::Type(VMHardDiskType& type) const {
    const auto links = disk::read_chain(file_);
    if (!links) {
        return code_of(links.error());
    }
    switch (links->front().type) {
        case disk::ImageType::Raw:
            return HResult::VM_E_DRIVE_INVALID;
        case disk::ImageType::Fixed:
            type = VMHardDiskType::FixedSize;
            break;
        case disk::ImageType::Dynamic:
            type = VMHardDiskType::Dynamic;
            break;
        case disk::ImageType::Differencing:
            type = VMHardDiskType::Differencing;
            break;
    }
    return HResult::S_OK;
}

HResult HardDisk::SizeInGuest(std::uint64_t& bytes) const {
    const auto links = disk::read_chain(file_);
    if (!links) {
        return code_of(links.error());
    }
    bytes = links->front().size;
    return HResult::S_OK;
}

HResult HardDisk::SizeOnHost(std::uint64_t& bytes) const {
    std::error_code error;
    const std::uintmax_t size = std::filesystem::file_size(file_, error);
    if (error) {
        return HResult::ERROR_FILE_NOT_FOUND;
    }
    bytes = size;
    return HResult::S_OK;
}

HResult HardDisk::HostFreeDiskSpace(std::uint64_t& bytes) const {
    HostVolume volume;
    const HResult found = find_volume(file_, volume);
    bytes = volume.free;
    return found;
}

HResult HardDisk::Parent(std::shared_ptr<HardDisk>& parent) const {
    std::vector<disk::ChainLink> links;
    const HResult read = chain(links);
    if (links.size() < 2) {
        return read == HResult::S_OK ? HResult::S_FALSE : read;
    }
    parent = std::make_shared<HardDisk>(links[1].path, worker_, tasks_, language_);
    return HResult::S_OK;
}

// ---- tasks ---------------------------------------------------------------------------------------------------------

HResult HardDisk::Compact(std::shared_ptr<IVMTask>& task) {
    std::vector<disk::ChainLink> links;
    if (const HResult read = chain(links); read != HResult::S_OK) {
        return read;
    }
    if (links.front().type != disk::ImageType::Dynamic) {
        return HResult::VM_E_WRONG_HD_IMAGE_TYPE;
    }
    if (const HResult writable = probe_writable(file_); writable != HResult::S_OK) {
        return writable;
    }
    return start(TaskKind::Compact, task, disk_work([file = file_](const disk::Operation& operation) -> disk::Status {
                     const auto compacted = disk::compact(file, disk::CompactOptions{}, operation);
                     return compacted ? disk::Status() : tl::unexpected(compacted.error());
                 }));
}

HResult HardDisk::check_target(const std::filesystem::path& path, VMHardDiskType type, std::uint64_t size) const {
    if (path.empty() || !has_vhd_extension(path)) {
        return HResult::E_INVALIDARG;
    }
    if (type != VMHardDiskType::Dynamic && type != VMHardDiskType::FixedSize) {
        return HResult::VM_E_WRONG_HD_IMAGE_TYPE;
    }
    if (const HResult checked = check_new_file(path); checked != HResult::S_OK) {
        return checked;
    }
    std::error_code ignored;
    HostVolume volume;
    if (!std::filesystem::is_directory(path.parent_path(), ignored) || find_volume(path, volume) != HResult::S_OK) {
        return HResult::ERROR_PATH_NOT_FOUND;
    }
    if (size > volume.largest_file) {
        return HResult::VM_E_FILE_TOO_LARGE_FOR_VOLUME;
    }
    return type == VMHardDiskType::FixedSize && size > volume.free ? HResult::ERROR_DISK_FULL : HResult::S_OK;
}

HResult HardDisk::Convert(const std::filesystem::path& path, VMHardDiskType type, std::shared_ptr<IVMTask>& task) {
    std::vector<disk::ChainLink> links;
    if (const HResult read = chain(links); read != HResult::S_OK) {
        return read;
    }
    if (const HResult checked = check_target(path, type, links.front().size); checked != HResult::S_OK) {
        return checked;
    }
    return start(TaskKind::Convert, task,
                 disk_work([file = file_, target = target_of(path, type)](const disk::Operation& operation) {
                     return disk::convert(file, target, operation);
                 }));
}

HResult HardDisk::Merge(std::shared_ptr<IVMTask>& task) {
    std::vector<disk::ChainLink> links;
    if (const HResult read = chain(links); read != HResult::S_OK) {
        return read;
    }
    if (links.front().type != disk::ImageType::Differencing) {
        return HResult::VM_E_WRONG_HD_IMAGE_TYPE;
    }
    for (const std::size_t image : {1, 0}) {
        if (const HResult writable = probe_writable(links[image].path); writable != HResult::S_OK) {
            return writable;
        }
    }
    return start(TaskKind::Merge, task, disk_work([file = file_](const disk::Operation& operation) {
                     return disk::merge(file, disk::MergeOptions{}, operation);
                 }));
}

HResult HardDisk::MergeTo(const std::filesystem::path& path, VMHardDiskType type, std::shared_ptr<IVMTask>& task) {
    std::vector<disk::ChainLink> links;
    if (const HResult read = chain(links); read != HResult::S_OK) {
        return read;
    }
    if (links.front().type != disk::ImageType::Differencing) {
        return HResult::VM_E_WRONG_HD_IMAGE_TYPE;
    }
    if (const HResult checked = check_target(path, type, links.front().size); checked != HResult::S_OK) {
        return checked;
    }
    return start(TaskKind::MergeTo, task,
                 disk_work([file = file_, target = target_of(path, type)](const disk::Operation& operation) {
                     return disk::merge_to(file, {}, target, operation);
                 }));
}

}  // namespace vpc::tasks
