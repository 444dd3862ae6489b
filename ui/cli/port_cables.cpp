#include "ui/cli/port_cables.h"

#include <fmt/format.h>

namespace vpc::cli {

std::string PortCables::problem_of(const RunOptions& options) {
    if (options.serial.size() > 2) {
        return "--serial: a PC has two serial ports, COM1 and COM2";
    }
    for (const std::string& backend : options.serial) {
        if (const auto parsed = parse_serial_backend(backend); !parsed) {
            return "--serial: " + parsed.error();
        }
    }
    if (!options.parallel.empty()) {
        const auto parsed = parse_serial_backend(options.parallel);
        if (!parsed || parsed->kind != SerialBackendChoice::Kind::File) {
            return "--parallel: '" + options.parallel + "' is not file:PATH";
        }
    }
    return {};
}

std::string PortCables::connect(const RunOptions& options, tasks::MachineSettings& settings) {
    for (std::size_t port = 0; port < options.serial.size(); ++port) {
        serial_names_[port] = "--serial " + options.serial[port];
        auto opened = open_serial_backend(*parse_serial_backend(options.serial[port]));
        if (!opened) {
            return serial_names_[port] + ": " + opened.error();
        }
        if (const std::string terminal = (*opened)->terminal(); !terminal.empty()) {
            notes_.push_back(fmt::format("COM{} is {}", port + 1, terminal));
        }
        serial_[port] = std::make_unique<SerialCable>(std::move(*opened), static_cast<unsigned>(port));
        settings.serial[port] = [cable = serial_[port].get()](std::uint8_t byte) { cable->send(byte); };
    }
    if (!options.parallel.empty()) {
        printer_name_ = "--parallel " + options.parallel;
        auto opened = open_serial_backend(*parse_serial_backend(options.parallel));
        if (!opened) {
            return printer_name_ + ": " + opened.error();
        }
        printer_ = std::move(*opened);
        settings.printer = [printer = printer_.get()](std::uint8_t byte) {
            printer->send(byte);
            return printer->problem().empty();
        };
    }
    return {};
}

void PortCables::plug_in(tasks::VirtualMachine& machine) {
    for (const auto& cable : serial_) {
        if (cable) {
            cable->plug_in([&machine](std::function<void(devices::Board&)> work) { machine.post(std::move(work)); });
        }
    }
}

std::string PortCables::finish() {
    std::string problem;
    const auto finish = [&](auto* end, const std::string& name) {
        if (end != nullptr) {
            end->finish();
            if (const std::string why = end->problem(); !why.empty() && problem.empty()) {
                problem = fmt::format("{}: output was lost: {}", name, why);
            }
        }
    };
    for (std::size_t port = 0; port < serial_.size(); ++port) {
        finish(serial_[port].get(), serial_names_[port]);
    }
    finish(printer_.get(), printer_name_);
    return problem;
}

}  // namespace vpc::cli
