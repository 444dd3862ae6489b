#include "disk/operations/operation.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <future>
#include <utility>

namespace vpc::disk {
namespace {

/// Half of what is promised, as the next chance to report may come late.
constexpr auto kInterval = std::chrono::milliseconds(50);

}  // namespace

WorkMeter::WorkMeter(Operation operation, std::uint64_t total)
    : operation_(std::move(operation)),
      total_(std::max<std::uint64_t>(total, 1)),
      reported_{.done = 0, .total = total_} {
    report();
}

void WorkMeter::set_total(std::uint64_t total) {
    total_ = std::max<std::uint64_t>(total, 1);
}

Status WorkMeter::add(std::uint64_t bytes) {
    done_ += bytes;
    // In 1/100 of the work, without overflow: disks are smaller than 2^57 bytes.
    const bool far = done_ * 100 / total_ > reported_.done * 100 / reported_.total;
    if (far || std::chrono::steady_clock::now() - reported_at_ >= kInterval) {
        report();
    }
    if (operation_.stop.stop_requested()) {
        return fail(ErrorCode::Cancelled, "cancelled");
    }
    return {};
}

Status WorkMeter::wait_for(const std::function<Status()>& work) {
    std::future<Status> result;
    try {
        result = std::async(std::launch::async, work);
    } catch (const std::exception&) {
        return work();  // no thread to be had
    }
    while (result.wait_for(kInterval) != std::future_status::ready) {
        (void)tick();
    }
    return result.get();
}

void WorkMeter::finish() {
    reported_ = {.done = total_, .total = total_};
    if (operation_.progress) {
        operation_.progress(reported_);
    }
}

void WorkMeter::report() {
    // Never all of it before finish(), and never less of the whole than was said before.
    const double before = static_cast<double>(reported_.done) / static_cast<double>(reported_.total);
    Progress now = {.done = std::min(done_, total_ - 1), .total = total_};
    if (static_cast<double>(now.done) < before * static_cast<double>(total_)) {
        now.done = std::min(static_cast<std::uint64_t>(before * static_cast<double>(total_)) + 1, total_ - 1);
        if (static_cast<double>(now.done) / static_cast<double>(now.total) < before) {
            now = reported_;
        }
    }
    reported_ = now;
    reported_at_ = std::chrono::steady_clock::now();
    if (operation_.progress) {
        operation_.progress(now);
    }
}

}  // namespace vpc::disk
