#pragma once
#include <cstdio>
#include <functional>
#include <string>

#include "disk/error.h"
#include "disk/operations/operation.h"
#include "tasks/result.h"
#include "ui/cli/exit_status.h"

namespace CLI {  // NOLINT(readability-identifier-naming): named by the library
class App;
}

namespace vpc::cli {

/// How a long command shows how far it is.
struct TaskOptions {
    std::string progress = "auto";  ///< auto, bar, json, none
};

void add_task_options(CLI::App& app, TaskOptions& options);

/// Runs one long operation of the disk module on the caller's thread.
///
/// Progress: a bar on stderr (auto: if that is a terminal), or with "json" one object a line on stdout, the last of
/// them with "complete":true and how it ended in Virtual PC's numbers (VMTaskResult and HRESULT). Percent is work done
/// of work to do; 100 only after success.
/// SIGINT, SIGTERM and SIGHUP, unless they are ignored, stop the operation through its stop token: kInterrupted. A
/// second one ends the process at once. A failure is printed on stderr: kFailed; kTimeLimit for a TimeOutError.
ExitStatus run_task(const std::string& description, const TaskOptions& options,
                    const std::function<disk::Status(const disk::Operation&)>& work);

/// The same for any other task. `work` fills in the whole outcome, its detail being all that is to be said of a
/// failure.
ExitStatus watch_task(const std::string& description, const TaskOptions& options,
                      const std::function<tasks::Outcome(const disk::Operation&)>& work);

/// Writes to stdout or stderr. That nobody reads it is no reason to fail: it may be closed.
void print_text(std::FILE* stream, const std::string& text);

/// Prints the message of an error on stderr.
ExitStatus report(const disk::Error& error);

}  // namespace vpc::cli
