#pragma once
#include <functional>

namespace vpc {

/// Where a drive sends its slow work, so that the guest computes while the disk works.
class IoExecutor {
  public:
    IoExecutor() = default;
    IoExecutor(const IoExecutor&) = delete;
    IoExecutor& operator=(const IoExecutor&) = delete;
    virtual ~IoExecutor() = default;

    /// Runs `work` away from the machine's thread, in the order of submission, and then `completion` on the machine's
    /// thread. `work` must touch neither guest memory nor a chip, only what it owns and the block device; it must not
    /// throw. Called on the machine's thread.
    virtual void submit(std::function<void()> work, std::function<void()> completion) = 0;
    /// Whether all work that was submitted has been done, so that what is short can be done at once instead of being
    /// submitted: nothing else touches the block devices. Called on the machine's thread.
    virtual bool idle() = 0;
};

}  // namespace vpc
