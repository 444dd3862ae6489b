#pragma once

namespace vpc::cli {

/// What every command ends with; people's scripts depend on it.
enum ExitStatus : int {
    kDone = 0,
    kFailed = 1,
    kUsage = 2,
    kTimeLimit = 124,  ///< as timeout(1)
    kInterrupted = 130,
};

}  // namespace vpc::cli
