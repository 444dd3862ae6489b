#pragma once
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "tasks/virtual_machine.h"
#include "ui/cli/run_options.h"
#include "ui/cli/serial_cable.h"

namespace vpc::cli {

/// What a machine's serial ports and its parallel port are connected to. The machine must live until finish(), and the
/// object must outlive it.
class PortCables {
  public:
    /// What is wrong with `--serial` and `--parallel` as they are typed: one line, or empty.
    static std::string problem_of(const RunOptions& options);

    /// Opens the back ends, of options without a problem, and puts them into the settings. One line on failure.
    std::string connect(const RunOptions& options, tasks::MachineSettings& settings);
    /// Terminals that were made: "COM1 is /dev/pts/3".
    const std::vector<std::string>& notes() const { return notes_; }
    /// Lets the running machine receive.
    void plug_in(tasks::VirtualMachine& machine);
    /// Ends receiving, and waits until everything sent is written (see SerialBackend::finish). One line when output was
    /// lost.
    std::string finish();

  private:
    std::array<std::string, 2> serial_names_;  // for messages: "--serial pty"
    std::array<std::unique_ptr<SerialCable>, 2> serial_;
    std::string printer_name_;
    std::unique_ptr<SerialBackend> printer_;
    std::vector<std::string> notes_;
};

}  // namespace vpc::cli
