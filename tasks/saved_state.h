#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "disk/operations/operation.h"
#include "tasks/removable_media.h"
#include "tasks/result.h"
#include "tasks/state_file.h"

namespace vpc {
class StateStream;
}
namespace vpc::devices {
class Board;
}

namespace vpc::tasks {

/// What a machine is made of, as far as a saved state depends on it: a state is loaded into an equal machine only.
struct MachineIdentity {
    std::uint64_t memory = 0;  ///< MiB
    std::string cpu;           ///< the model's name
    /// Checksums (FNV-1a) of the firmware: its code is not in the state, only where the guest stands in it.
    std::uint64_t bios = 0;
    std::uint64_t vga_bios = 0;

    void serialize(StateStream& stream);
};
std::uint64_t firmware_checksum(std::span<const std::uint8_t> bytes);

/// A disk at the moment of saving. A state is never resumed on a disk that was written to since: the guest's memory
/// holds a copy of parts of its file systems, and would destroy them.
struct DiskGeneration {
    std::string file;                          ///< empty: no disk in this place
    std::array<std::uint8_t, 16> unique_id{};  ///< BlockDevice::unique_id
    std::uint64_t file_size = 0;
    std::int64_t modified = 0;  ///< nanoseconds since 1970: the host moves it with every write, whoever writes

    void serialize(StateStream& stream);
};
using DiskGenerations = std::array<DiskGeneration, 4>;

/// Looks at the file. The disk must be closed, since closing one may write.
disk::Result<DiskGeneration> disk_generation(const std::filesystem::path& file,
                                             const std::array<std::uint8_t, 16>& unique_id);

/// Writes a machine's saved state in two steps. First everything that belongs to the machine, while it stands still;
/// if that fails or is stopped, the machine can run on and the old file is untouched. Then, after its disks were
/// closed, what has become of them.
class SavedStateWriter {
  public:
    /// Progress counts the work of finding and storing the pages that are not zero (PageWork), and bytes of the chips'
    /// state. `file` may exist.
    static disk::Result<std::unique_ptr<SavedStateWriter>> write_machine(const std::filesystem::path& file,
                                                                         MachineIdentity identity, RemovableMedia media,
                                                                         devices::Board& board,
                                                                         const disk::Operation& operation);
    /// When it returns, the file has its name and is on the host's disk.
    disk::Status complete(DiskGenerations disks);

  private:
    std::unique_ptr<StateFileWriter> file_;
};

class SavedStateReader {
  public:
    static disk::Result<std::unique_ptr<SavedStateReader>> open(const std::filesystem::path& file);

    const MachineIdentity& identity() const { return identity_; }
    const DiskGenerations& disks() const { return disks_; }
    const RemovableMedia& media() const { return media_; }
    /// What is to be done to get the memory back: PageWork's `loading`.
    std::uint64_t loading_work() const { return loading_work_; }

    /// Why the state does not fit a machine of this identity with these disks; empty: it fits.
    std::string misfit(const MachineIdentity& identity, const DiskGenerations& disks) const;

    /// Fills a board that has never run; progress counts loading_work(). Errors: Corrupt, Unsupported,
    /// Cancelled, IoError; the board is then useless.
    disk::Status load(devices::Board& board, const disk::Operation& operation);

  private:
    std::unique_ptr<StateFileReader> file_;
    std::string name_;
    MachineIdentity identity_;
    DiskGenerations disks_;
    RemovableMedia media_;
    std::uint64_t loading_work_ = 0;
};

}  // namespace vpc::tasks
