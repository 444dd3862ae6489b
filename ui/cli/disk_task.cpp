#include "ui/cli/disk_task.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <stop_token>
#include <thread>

#include "tasks/worker.h"

namespace vpc::cli {
namespace {

/// Shows percent of one task. Used by one thread.
class ProgressDisplay {
  public:
    ProgressDisplay(std::string description, const std::string& style)
        : description_(std::move(description)),
          json_(style == "json"),
          bar_(style == "bar" || (style == "auto" && ::isatty(STDERR_FILENO) == 1)) {}

    void show(const disk::Progress& progress) {
        const auto percent = progress.total == 0
                                 ? 0
                                 : static_cast<int>(std::min<std::uint64_t>(progress.done * 100 / progress.total, 99));
        if (percent > percent_) {
            percent_ = percent;
            print(nlohmann::ordered_json());
        }
    }

    void finish(const tasks::Outcome& outcome) {
        if (tasks::succeeded(outcome.error)) {
            percent_ = 100;
        }
        percent_ = std::max(percent_, 0);
        print({{"result", static_cast<int>(outcome.result)}, {"error", tasks::hresult_number(outcome.error)}});
        if (bar_) {
            std::fputc('\n', stderr);
        }
    }

  private:
    void print(const nlohmann::ordered_json& result) {
        if (json_) {
            nlohmann::ordered_json object = {
                {"task", 1}, {"description", description_}, {"percent", percent_}, {"complete", !result.is_null()}};
            if (!result.is_null()) {
                object.update(result);
            }
            // File names need not be UTF-8.
            print_text(stdout, fmt::format("{}\n", object.dump(-1, ' ', false,
                                                               nlohmann::ordered_json::error_handler_t::replace)));
            std::fflush(stdout);
        } else if (bar_) {
            constexpr int kWidth = 40;
            const int full = percent_ * kWidth / 100;
            print_text(stderr, fmt::format("\r{} [{:#<{}}{:.<{}}] {:3} %", description_, "", full, "", kWidth - full,
                                           percent_));
            std::fflush(stderr);
        }
    }

    std::string description_;
    bool json_;
    bool bar_;
    int percent_ = -1;
};

/// While it lives, the signals that ask a program to end request a stop instead.
class StopOnSignals {
  public:
    StopOnSignals() {
        ::sigemptyset(&signals_);
        ::sigaddset(&signals_, kWake);
        for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
            struct sigaction action = {};
            if (::sigaction(number, nullptr, &action) == 0 && action.sa_handler != SIG_IGN) {
                ::sigaddset(&signals_, number);
            }
        }
        ::pthread_sigmask(SIG_BLOCK, &signals_, &before_);
        watcher_ = std::thread([this] { watch(); });
    }
    StopOnSignals(const StopOnSignals&) = delete;
    StopOnSignals& operator=(const StopOnSignals&) = delete;
    ~StopOnSignals() {
        ::pthread_kill(watcher_.native_handle(), kWake);
        watcher_.join();
        ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }

    std::stop_token token() const { return source_.get_token(); }

  private:
    static constexpr int kWake = SIGUSR1;  // sent to the watcher alone, by the destructor

    void watch() {
        for (int number = 0; ::sigwait(&signals_, &number) == 0 && number != kWake;) {
            if (!source_.request_stop()) {  // the second time of asking
                ::_exit(kInterrupted);
            }
        }
    }

    sigset_t signals_{};
    sigset_t before_{};
    std::stop_source source_;
    std::thread watcher_;
};

std::string message_of(const disk::Error& error) {
    return error.message + (error.code == disk::ErrorCode::AlreadyExists ? " by --force" : "");
}

}  // namespace

void add_task_options(CLI::App& app, TaskOptions& options) {
    app.add_option("--progress", options.progress,
                   "how to show progress: auto (a bar if stderr is a terminal), bar, none, or json, one object a line "
                   "on stdout")
        ->type_name("STYLE")
        ->capture_default_str()
        ->check(CLI::IsMember({"auto", "bar", "json", "none"}));
}

void print_text(std::FILE* stream, const std::string& text) {
    std::fputs(text.c_str(), stream);
}

ExitStatus report(const disk::Error& error) {
    print_text(stderr, fmt::format("vpc: {}\n", message_of(error)));
    return error.code == disk::ErrorCode::Cancelled ? kInterrupted : kFailed;
}

ExitStatus watch_task(const std::string& description, const TaskOptions& options,
                      const std::function<tasks::Outcome(const disk::Operation&)>& work) {
    ProgressDisplay display(description, options.progress);
    tasks::Outcome outcome;
    {
        const StopOnSignals signals;
        display.show({.done = 0, .total = 1});
        outcome = work(
            {.progress = [&](const disk::Progress& progress) { display.show(progress); }, .stop = signals.token()});
    }
    display.finish(outcome);
    if (tasks::succeeded(outcome.error)) {
        return kDone;
    }
    print_text(stderr, fmt::format("vpc: {}\n", outcome.detail));
    switch (outcome.result) {
        case tasks::VMTaskResult::Cancelled:
            return kInterrupted;
        case tasks::VMTaskResult::TimeOutError:
            return kTimeLimit;
        default:
            return kFailed;
    }
}

ExitStatus run_task(const std::string& description, const TaskOptions& options,
                    const std::function<disk::Status(const disk::Operation&)>& work) {
    return watch_task(description, options, [&](const disk::Operation& operation) {
        const disk::Status done = work(operation);
        tasks::Outcome outcome = tasks::outcome_of(done);
        if (!done) {
            outcome.detail = message_of(done.error());
        }
        return outcome;
    });
}

}  // namespace vpc::cli
