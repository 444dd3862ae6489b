#pragma once
#include <stop_token>

#include "disk/operations/operation.h"

namespace vpc::disk::testing {

/// An operation that is asked to stop when it reports its progress for the nth time.
class StoppingOperation {
  public:
    explicit StoppingOperation(int report) : stop_at_(report) {}
    StoppingOperation(const StoppingOperation&) = delete;
    StoppingOperation& operator=(const StoppingOperation&) = delete;

    /// For one call, while this object lives.
    Operation get() {
        return {.progress =
                    [this](const Progress&) {
                        if (++reports_ == stop_at_) {
                            stop_.request_stop();
                        }
                    },
                .stop = stop_.get_token()};
    }
    int reports() const { return reports_; }

  private:
    int stop_at_;
    int reports_ = 0;
    std::stop_source stop_;
};

}  // namespace vpc::disk::testing
