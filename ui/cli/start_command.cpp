#include "ui/cli/start_command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "tasks/runtime_folder.h"
#include "tasks/task_text.h"
#include "ui/cli/machine_file.h"
#include "ui/cli/machine_host.h"
#include "ui/cli/machine_window.h"

namespace vpc::cli {
namespace {

ExitStatus fail(const std::string& problem) {
    print_text(stderr, fmt::format("vpc: {}\n", problem));
    return kFailed;
}

/// The new process's end of the cable to the command that started it: lines "p PERCENT" and "n NOTE", then "ok" or "e
/// PROBLEM". When the command wants no more, it hangs up.
void host(const tasks::RegisteredMachine& machine, const RunOptions& options, tasks::VMStartupOption option,
          int command, const std::filesystem::path& log) {
    ::setsid();
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    const int errors = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ::dup2(null, STDIN_FILENO);
    ::dup2(null, STDOUT_FILENO);
    ::dup2(errors >= 0 ? errors : null, STDERR_FILENO);
    const auto say = [command](const std::string& line) {
        // Somebody who has hung up is noticed below.
        return ::send(command, line.data(), line.size(), MSG_NOSIGNAL) > 0;
    };
    int said = -1;
    host_machine(machine, options, option,
                 {.progress =
                      [&](int percent) {
                          if (percent != said) {
                              said = percent;
                              say(fmt::format("p {}\n", percent));
                          }
                      },
                  .cancelled =
                      [command] {
                          pollfd end{.fd = command, .events = POLLIN, .revents = 0};
                          return ::poll(&end, 1, 0) > 0;
                      },
                  .note = [&](const std::string& line) { say("n " + line + "\n"); },
                  .started =
                      [&](const std::string& problem) {
                          std::string line = problem;
                          std::replace(line.begin(), line.end(), '\n', ' ');
                          say(problem.empty() ? "ok\n" : "e " + line + "\n");
                          ::close(command);
                      }});
}

/// The command's end: until the machine runs, cannot, or shall not.
tasks::Outcome watch(int child, const disk::Operation& operation, std::string& notes) {
    std::string received;
    bool stopped = false;
    for (;;) {
        if (operation.stop.stop_requested() && !stopped) {
            stopped = true;
            ::shutdown(child, SHUT_WR);
        }
        pollfd end{.fd = child, .events = POLLIN, .revents = 0};
        if (::poll(&end, 1, 50) <= 0) {
            continue;
        }
        std::array<char, 1024> buffer{};
        const ssize_t got = ::recv(child, buffer.data(), buffer.size(), 0);
        if (got <= 0) {
            return {tasks::HResult::E_UNEXPECTED, tasks::VMTaskResult::ThreadCrashError,
                    "the machine's process has ended unexpectedly"};
        }
        received.append(buffer.data(), static_cast<std::size_t>(got));
        for (std::size_t newline = 0; (newline = received.find('\n')) != std::string::npos;) {
            const std::string line = received.substr(0, newline);
            received.erase(0, newline + 1);
            if (line == "ok") {
                return {};
            }
            if (line.starts_with("p ")) {
                operation.progress({.done = std::strtoull(line.c_str() + 2, nullptr, 10), .total = 100});
            } else if (line.starts_with("n ")) {
                notes += "vpc: " + line.substr(2) + "\n";
            } else if (stopped) {
                return {tasks::HResult::E_ABORT, tasks::VMTaskResult::Cancelled, "cancelled"};
            } else {
                return {tasks::HResult::E_FAIL, tasks::VMTaskResult::UnexpectedError, line.substr(2)};
            }
        }
    }
}

}  // namespace

ExitStatus start_machine(const std::string& name, const WindowOptions& window, const TaskOptions& options,
                         tasks::VMStartupOption option) {
    const auto machine = find_machine(name);
    if (!machine) {
        return fail(machine.error());
    }
    auto parts = read_machine(machine->file, RunOptions(), [](const std::string&) { return false; });
    if (!parts) {
        return fail(parts.error());
    }
    if (const auto host_key = parse_host_key(window.host_key); !host_key) {
        print_text(stderr, fmt::format("vpc: --host-key: {}\n", host_key.error()));
        return kUsage;
    }
    parts->window = window;
    const auto folder = tasks::runtime_folder();
    if (!folder) {
        return fail(folder.error());
    }
    const auto log = tasks::control_socket(*folder, machine->file).replace_extension(".log");
    std::array<int, 2> cable{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, cable.data()) != 0) {
        return fail(fmt::format("cannot make a socket: {}", std::strerror(errno)));
    }
    // Before this process has any other thread.
    const pid_t process = ::fork();
    if (process < 0) {
        return fail(fmt::format("cannot make a process: {}", std::strerror(errno)));
    }
    if (process == 0) {
        ::close(cable[0]);
        host(*machine, *parts, option, cable[1], log);
        return kDone;
    }
    ::close(cable[1]);
    std::string notes;
    const ExitStatus status =
        watch_task(tasks::task_description(tasks::TaskKind::Startup, machine->name, tasks::Language::English), options,
                   [&](const disk::Operation& operation) {
                       tasks::Outcome outcome = watch(cable[0], operation, notes);
                       if (!tasks::succeeded(outcome.error)) {
                           outcome.detail = fmt::format("{}: {}", name, outcome.detail);
                       }
                       return outcome;
                   });
    ::close(cable[0]);
    print_text(stderr, notes);
    if (status != kDone) {
        ::waitpid(process, nullptr, 0);  // it has nothing to run and ends, and the machine can be started again
    }
    return status;
}

}  // namespace vpc::cli
