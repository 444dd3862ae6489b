#include "core/virtual_clock.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <utility>

#include "core/state_stream.h"

namespace vpc {

VirtualClock::VirtualClock(HostTime host_time) : host_time_(std::move(host_time)) {}

Nanoseconds VirtualClock::steady_host_time() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

void VirtualClock::pause() {
    if (!paused_) {
        frozen_ = now();
        paused_ = true;
    }
}

void VirtualClock::resume() {
    if (paused_) {
        offset_ = frozen_ - host_time_();
        paused_ = false;
    }
}

VirtualClock::Event VirtualClock::make_event(std::string name, Handler handler) {
    const bool taken = std::any_of(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.name == name; });
    if (taken) {
        throw std::logic_error("two clock events are named " + name);
    }
    entries_.push_back({.name = std::move(name), .handler = std::move(handler)});
    return Event(this, entries_.size() - 1);
}

void VirtualClock::Event::schedule(Nanoseconds when, std::int64_t payload) {
    Entry& entry = clock_->entries_[index_];
    entry.pending = true;
    entry.when = when;
    entry.payload = payload;
    entry.order = clock_->next_order_++;
    if (clock_->on_schedule_) {
        clock_->on_schedule_(when);
    }
}

void VirtualClock::Event::cancel() {
    if (clock_ != nullptr) {
        clock_->entries_[index_].pending = false;
    }
}

bool VirtualClock::Event::pending() const {
    return clock_ != nullptr && clock_->entries_[index_].pending;
}

Nanoseconds VirtualClock::Event::when() const {
    return clock_->entries_[index_].when;
}

const VirtualClock::Entry* VirtualClock::earliest() const {
    const Entry* best = nullptr;
    for (const Entry& entry : entries_) {  // a machine has some dozen event types: a scan beats a heap
        if (entry.pending &&
            (best == nullptr || std::pair(entry.when, entry.order) < std::pair(best->when, best->order))) {
            best = &entry;
        }
    }
    return best;
}

std::optional<Nanoseconds> VirtualClock::next_deadline() const {
    const Entry* entry = earliest();
    return entry != nullptr ? std::optional(entry->when) : std::nullopt;
}

void VirtualClock::run_due() {
    const Nanoseconds limit = now();
    for (const Entry* due = earliest(); due != nullptr && due->when <= limit; due = earliest()) {
        Entry& entry = entries_[static_cast<std::size_t>(due - entries_.data())];
        entry.pending = false;
        entry.handler(entry.payload, limit - entry.when);
    }
}

void VirtualClock::serialize(StateStream& stream) {
    stream.section("clock", 1, [&] {
        Nanoseconds time = now();
        stream.field(time);
        auto count = static_cast<std::uint32_t>(entries_.size());
        stream.field(count);
        if (count != entries_.size()) {
            stream.refuse("another set of clock events");
        }
        for (Entry& entry : entries_) {
            std::string name = entry.name;
            stream.field(name);
            if (name != entry.name) {
                stream.refuse("unknown clock event " + name);
            }
            stream.field(entry.pending);
            stream.field(entry.when);
            stream.field(entry.payload);
            stream.field(entry.order);
            next_order_ = std::max(next_order_, entry.order + 1);
        }
        if (stream.loading()) {
            frozen_ = time;
            offset_ = time - host_time_();
        }
    });
}

}  // namespace vpc
