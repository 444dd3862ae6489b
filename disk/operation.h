#pragma once
#include <cstdint>
#include <functional>
#include <stop_token>

namespace vpc::disk {

/// How far a long operation is, in bytes of work: what it has to read and to write, not the size of the disk, so that
/// holes do not make it jump. `total` may be corrected while it runs; done / total never falls.
struct Progress {
    std::uint64_t done = 0;
    std::uint64_t total = 0;
};

/// What every long operation of this module takes. Both are optional.
struct Operation {
    /// Called on the operation's own thread, at least every 100 ms or 1 %, and must not block. done == total is
    /// reported once, after everything is synced and, for a new file, it has its name.
    std::function<void(const Progress&)> progress;
    /// Asked between pieces of at most 2 MiB. A stopped operation fails with ErrorCode::Cancelled, and every file is
    /// as the operation's own comment says.
    std::stop_token stop;
};

}  // namespace vpc::disk
