#include "tasks/guest_session.h"

#include <algorithm>
#include <utility>

namespace vpc::tasks {

GuestSession::GuestSession(std::function<void()> wake, std::function<std::int64_t()> unix_time,
                           std::chrono::milliseconds heart_beat)
    : agent_(std::move(wake)), unix_time_(std::move(unix_time)), heart_beat_(heart_beat) {}

GuestSession::~GuestSession() {
    end(Event::Gone);
    stop_heart();
}

GuestAgent::Result GuestSession::make_contact(const std::stop_token& stop) {
    auto answer = agent_.call("guest-ping", {}, patience(), stop);
    const std::scoped_lock guard(mutex_);
    if (answer && beat_count_ == 0 && end_ == Event::None) {
        beats_[beat_count_++] = true;
        heart_ = std::jthread([this](const std::stop_token& stopped) { beat(stopped); });
    }
    return answer;
}

void GuestSession::beat(const std::stop_token& stop) {
    for (bool check_time = true;; check_time = !check_time) {
        if (check_time && unix_time_) {
            correct_time(stop);
        }
        {
            std::unique_lock guard(mutex_);
            changed_.wait_for(guard, stop, heart_beat_, [this] { return end_ != Event::None; });
            if (stop.stop_requested() || end_ != Event::None) {
                return;
            }
        }
        const bool answered = agent_.call("guest-ping", {}, patience(), stop).has_value();
        const std::scoped_lock guard(mutex_);
        beats_[beat_count_++ % kBeatsKept] = answered;
    }
}

void GuestSession::correct_time(const std::stop_token& stop) {
    constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;
    const auto time = agent_.call("guest-get-time", {}, patience(), stop);
    if (!time || !time->is_number_integer()) {
        return;
    }
    const std::int64_t now = unix_time_();
    const std::int64_t guests = time->get<std::int64_t>() / kNanosecondsPerSecond;
    if (guests < now - kLargestTimeError.count() || guests > now + kLargestTimeError.count()) {
        agent_.call("guest-set-time", {{"time", now * kNanosecondsPerSecond}}, patience(), stop);
    }
}

int GuestSession::heart_beat_percentage() const {
    const std::scoped_lock guard(mutex_);
    const std::size_t kept = std::min(beat_count_, kBeatsKept);
    const auto answered = std::count(beats_.begin(), beats_.begin() + static_cast<std::ptrdiff_t>(kept), true);
    return kept == 0 ? 0 : static_cast<int>(100 * static_cast<std::size_t>(answered) / kept);
}

bool GuestSession::heart_beats() const {
    const std::scoped_lock guard(mutex_);
    return beat_count_ != 0 && beats_[(beat_count_ - 1) % kBeatsKept];
}

void GuestSession::was_reset() {
    {
        const std::scoped_lock guard(mutex_);
        ++resets_;
    }
    changed_.notify_all();
}

void GuestSession::end(Event how) {
    {
        const std::scoped_lock guard(mutex_);
        end_ = end_ == Event::None ? how : end_;
    }
    agent_.unplug();
    changed_.notify_all();
}

void GuestSession::stop_heart() {
    std::jthread heart;
    {
        const std::scoped_lock guard(mutex_);
        heart = std::move(heart_);
    }
    heart.request_stop();
    if (heart.joinable()) {
        heart.join();
    }
}

std::uint64_t GuestSession::resets() const {
    const std::scoped_lock guard(mutex_);
    return resets_;
}

GuestSession::Event GuestSession::wait(std::uint64_t resets, std::chrono::milliseconds limit,
                                       const std::stop_token& stop) const {
    std::unique_lock guard(mutex_);
    changed_.wait_for(guard, stop, limit, [&] { return end_ != Event::None || resets_ > resets; });
    return end_ == Event::None && resets_ > resets ? Event::Reset : end_;
}

}  // namespace vpc::tasks
