#pragma once
#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/disk/crash_simulator.h"

namespace vpc::disk::testing {

/// Device and inode.
using HostFile = std::pair<dev_t, ino_t>;

/// One thing that was done to a folder or to one of its files, by a system call.
struct HostOperation {
    enum class Kind {
        Create,      ///< a file is there, empty, and has no name yet
        Data,        ///< `data` says what was done to the contents
        SyncFile,    ///< what was done to the contents before is stored
        SyncWrite,   ///< the write that `data` repeats is stored
        Link,        ///< the file gets `name`, which another may have had
        Unlink,      ///< `name` is gone
        SyncFolder,  ///< what was done to names before is stored
    };
    Kind kind = Kind::Create;
    HostFile file = {};
    FileOperation data = {};
    std::string name = {};
};

/// A folder's files before, and everything that was done to them since.
struct HostHistory {
    std::map<std::string, HostFile> names;
    std::map<HostFile, MemoryContents> files;
    std::vector<HostOperation> operations;
};

/// While it lives, writes down what the process does to the files of a folder that has no folders in it: the linker
/// leads the system calls of this program's own objects through host_recorder.cpp. One at a time; any thread may make
/// the calls.
class HostRecorder {
  public:
    explicit HostRecorder(const std::filesystem::path& folder);
    HostRecorder(const HostRecorder&) = delete;
    HostRecorder& operator=(const HostRecorder&) = delete;
    ~HostRecorder();

    /// How many it has written down so far.
    std::size_t operations() const;
    /// The end of the recording.
    HostHistory stop();
};

/// Is shown a folder with the files that a power failure has left, works on with them if it wants to, and says what is
/// wrong, or nothing. `returned`: all that was recorded had been done, so that whatever was promised must be there.
using InspectFolder = std::function<std::string(const std::filesystem::path& folder, bool returned)>;

/// Imagines a power failure after each of the operations: what was synced is there; of everything else any part, the
/// contents sector by sector, the names in their order. Those after the `first` operations only, if given.
CrashReport simulate_host_crashes(const HostHistory& history, std::uint32_t seed, const InspectFolder& inspect,
                                  std::size_t first = 0);

}  // namespace vpc::disk::testing
