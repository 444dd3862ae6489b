#include "ui/cli/run_statistics.h"

#include <nlohmann/json.hpp>

#include "devices/board.h"

namespace vpc::cli {
namespace {

double seconds(Nanoseconds time) {
    return static_cast<double>(time) / static_cast<double>(kSecond);
}

}  // namespace

nlohmann::ordered_json run_statistics(devices::Board& board) {
    const CpuStatistics& cpu = board.cpu().statistics();
    nlohmann::ordered_json drives = nlohmann::ordered_json::object();
    for (unsigned i = 0; i < 4; ++i) {
        if (board.ide().device(i / 2, i % 2) != nullptr) {
            const devices::DriveStatistics drive = board.ide().statistics(i / 2, i % 2);
            drives[std::string("hd") + static_cast<char>('a' + i)] = {{"bytes_read", drive.bytes_read},
                                                                      {"bytes_written", drive.bytes_written}};
        }
    }
    for (unsigned i = 0; i < devices::I82077AA::kDrives; ++i) {
        if (const devices::FloppyDrive& drive = board.floppy_controller().drive(i); drive.present()) {
            drives[std::string("fd") + static_cast<char>('a' + i)] = {
                {"bytes_read", drive.statistics.bytes_read}, {"bytes_written", drive.statistics.bytes_written}};
        }
    }
    return {
        {"virtual_seconds", seconds(board.clock().now())},
        {"idle_seconds", seconds(board.idle_time())},
        {"exits", cpu.runs},
        {"interrupts", cpu.external_interrupts},
        {"exceptions", cpu.exceptions},
        {"software_interrupts", cpu.software_interrupts},
        {"double_faults", cpu.double_faults},
        {"resets", board.resets()},
        {"port_reads", cpu.port_reads},
        {"port_writes", cpu.port_writes},
        {"memory_mapped_accesses", cpu.memory_mapped_accesses},
        {"unowned_port_reads", board.ports().unowned_reads()},
        {"unowned_port_writes", board.ports().unowned_writes()},
        {"drives", drives},
    };
}

std::string with_ending(const nlohmann::ordered_json& statistics, Nanoseconds wall_time, std::string_view reason) {
    nlohmann::ordered_json all = {{"ended_by", reason}, {"wall_seconds", seconds(wall_time)}};
    all.update(statistics);
    return all.dump();
}

}  // namespace vpc::cli
