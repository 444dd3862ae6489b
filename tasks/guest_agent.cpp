#include "tasks/guest_agent.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>
#include <utility>

#include "tasks/untrusted_json.h"

namespace vpc::tasks {
namespace {

using nlohmann::json;
using Error = GuestAgent::Error;

/// Makes the receiver forget what it has of a message; no JSON text contains it, since UTF-8 does not.
constexpr char kSentinel = '\xFF';

tl::unexpected<Error> fail(Error::Kind kind, std::string message) {
    return tl::unexpected(Error{kind, std::move(message)});
}

GuestAgent::Result answer_of(const std::string& line) {
    const auto answer = parse_untrusted_json(line);
    if (!answer || !answer->is_object() || (!answer->contains("return") && !answer->contains("error"))) {
        return fail(Error::Kind::Malformed, "the guest's agent answers nonsense");
    }
    if (answer->contains("return")) {
        return answer->at("return");
    }
    const json& error = answer->at("error");
    const auto text = [&error](const char* key) {
        return error.is_object() && error.contains(key) && error[key].is_string() ? error[key].get<std::string>() : "";
    };
    std::string description = text("desc");
    for (char& each : description) {
        each = static_cast<unsigned char>(each) < ' ' ? ' ' : each;
    }
    return fail(text("class") == "CommandNotFound" ? Error::Kind::Unknown : Error::Kind::Refused, description);
}

}  // namespace

GuestAgent::Result GuestAgent::call(const std::string& command, const json& arguments,
                                    std::chrono::milliseconds patience, const std::stop_token& stop) {
    return carry_out(command, arguments, patience, stop, true);
}

GuestAgent::Result GuestAgent::call_without_answer(const std::string& command, const json& arguments,
                                                   std::chrono::milliseconds patience, const std::stop_token& stop) {
    return carry_out(command, arguments, patience, stop, false);
}

GuestAgent::Result GuestAgent::carry_out(const std::string& command, const json& arguments,
                                         std::chrono::milliseconds patience, const std::stop_token& stop,
                                         bool answered) {
    const std::scoped_lock turn(calls_);
    std::unique_lock guard(mutex_);
    listening_ = true;
    Result result = json();
    if (auto synchronized = synchronize(guard, patience, stop); !synchronized) {
        result = tl::unexpected(synchronized.error());
    } else {
        json message = {{"execute", command}};
        if (!arguments.empty()) {
            message["arguments"] = arguments;
        }
        send(guard, message.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
        const auto line = next_line(guard, Clock::now() + patience, stop);
        if (line) {
            result = answer_of(*line);
        } else if (answered || line.error().kind != Error::Kind::Silent) {
            result = tl::unexpected(line.error());
        }
    }
    listening_ = false;
    outgoing_.clear();  // a command that was given up must not reach an agent that comes later
    received_.clear();
    return result;
}

tl::expected<void, Error> GuestAgent::synchronize(std::unique_lock<std::mutex>& guard,
                                                  std::chrono::milliseconds patience, const std::stop_token& stop) {
    if (last_id_ == 0) {
        last_id_ = std::random_device()();  // unlike those of a process that had this guest before
    }
    const std::int64_t id = ++last_id_;
    const json message = {{"execute", "guest-sync-delimited"}, {"arguments", {{"id", id}}}};
    send(guard, kSentinel + message.dump() + "\n");
    const Clock::time_point until = Clock::now() + patience;
    for (;;) {
        auto line = next_line(guard, until, stop);
        if (!line) {
            return tl::unexpected(line.error());
        }
        const std::size_t sentinel = line->rfind(kSentinel);
        if (sentinel == std::string::npos) {
            continue;  // to somebody before, or an echo
        }
        const auto answer = parse_untrusted_json(std::string_view(*line).substr(sentinel + 1));
        if (answer && answer->is_object() && answer->contains("return") && answer->at("return") == id) {
            return {};
        }
    }
}

void GuestAgent::send(std::unique_lock<std::mutex>& guard, const std::string& text) {
    outgoing_.assign(text.begin(), text.end());
    received_.clear();
    too_long_ = false;
    guard.unlock();
    wake_();
    guard.lock();
}

tl::expected<std::string, Error> GuestAgent::next_line(std::unique_lock<std::mutex>& guard, Clock::time_point until,
                                                       const std::stop_token& stop) {
    std::size_t end = std::string::npos;
    changed_.wait_until(guard, stop, until, [&] {
        end = received_.find('\n');
        return unplugged_ || end != std::string::npos;
    });
    if (unplugged_) {
        return fail(Error::Kind::Unplugged, "the machine has ended");
    }
    if (end != std::string::npos) {
        std::string line = received_.substr(0, end);
        received_.erase(0, end + 1);
        return line;
    }
    return stop.stop_requested() ? fail(Error::Kind::Cancelled, "cancelled")
                                 : fail(Error::Kind::Silent, "there is no answer from an agent on COM2");
}

std::size_t GuestAgent::take(std::span<std::uint8_t> into) {
    const std::scoped_lock guard(mutex_);
    const std::size_t count = std::min(into.size(), outgoing_.size());
    std::copy_n(outgoing_.begin(), count, into.begin());
    outgoing_.erase(outgoing_.begin(), outgoing_.begin() + static_cast<std::ptrdiff_t>(count));
    return count;
}

void GuestAgent::receive(std::uint8_t byte) {
    const std::scoped_lock guard(mutex_);
    if (!listening_) {
        return;
    }
    const char character = static_cast<char>(byte);
    if (received_.size() >= kLongestAnswer) {
        received_.clear();
        too_long_ = true;
    }
    if (character == '\n' || character == kSentinel) {
        too_long_ = false;
    }
    if (too_long_) {
        return;
    }
    received_ += character;
    if (character == '\n') {
        changed_.notify_all();
    }
}

void GuestAgent::unplug() {
    {
        const std::scoped_lock guard(mutex_);
        unplugged_ = true;
    }
    changed_.notify_all();
}

}  // namespace vpc::tasks
