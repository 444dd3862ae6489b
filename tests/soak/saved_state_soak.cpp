// Saves and restores a real guest at random moments, 100 times, and then lets it do the rest of its work.
//
//     saved_state_soak IMAGE [MEMORY-MB [SEED [LONGEST-RUN-MS [ROUNDS]]]]
//
// The image is copied first. The guest's COM1 goes to stdout; the exit status says whether it powered itself off; the
// caller compares what it printed. What saving and restoring took goes to stderr.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tasks/virtual_machine.h"

namespace {

using namespace vpc::tasks;
using Clock = std::chrono::steady_clock;

std::vector<std::uint8_t> firmware(const char* name) {
    std::ifstream file(std::string("/usr/share/seabios/") + name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

double milliseconds_since(Clock::time_point start) {
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

bool succeeded_in_time(HResult at_once, const std::shared_ptr<IVMTask>& task) {
    constexpr std::int32_t kTimeLimit = 60'000;
    if (at_once != HResult::S_OK) {
        std::fprintf(stderr, "soak: %s\n", hresult_name(at_once).c_str());
        return false;
    }
    task->WaitForCompletion(kTimeLimit);
    if (task->IsComplete() && task->Result() == VMTaskResult::Success) {
        return true;
    }
    std::fprintf(stderr, "soak: %s: %s %s\n", task->Description().c_str(), hresult_name(task->Error()).c_str(),
                 task->ErrorDescription().c_str());
    return false;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fprintf(stderr,
                     "usage: saved_state_soak IMAGE [MEMORY-MB [SEED "
                     "[LONGEST-RUN-MS [ROUNDS]]]]\n");
        return 2;
    }
    const auto number = [&](int index, unsigned long otherwise) {
        return argc > index ? std::strtoul(argv[index], nullptr, 10) : otherwise;
    };
    std::string folder_pattern = (std::filesystem::temp_directory_path() / "vpc-soak-XXXXXX").string();
    const std::filesystem::path folder = ::mkdtemp(folder_pattern.data());
    const std::filesystem::path disk = folder / "disk";
    std::filesystem::copy_file(argv[1], disk);
    std::mt19937 random(static_cast<std::mt19937::result_type>(number(3, std::random_device{}())));
    std::uniform_int_distribution<unsigned long> moment(1, number(4, 400));

    MachineSettings settings;
    settings.name = "soak";
    settings.memory = number(2, 128);
    settings.bios = firmware("bios.bin");
    settings.vga_bios = firmware("vgabios-stdvga.bin");
    settings.disks[0] = disk;
    settings.saved_state = folder / "soak.vsv";
    settings.serial[0] = [](std::uint8_t byte) { std::putchar(byte); };
    settings.unix_time = [] { return static_cast<std::int64_t>(std::time(nullptr)); };

    int status = 0;
    unsigned long rounds = 0;
    const unsigned long wanted_rounds = number(5, 100);
    double saving = 0;
    double restoring = 0;
    std::uintmax_t largest = 0;
    {
        Worker worker;
        TaskCollection tasks;
        const auto machine = VirtualMachine::make(settings, worker, tasks);
        std::shared_ptr<IVMTask> task;
        status = succeeded_in_time(machine->Startup(task), task) ? 0 : 1;
        while (status == 0 && rounds < wanted_rounds) {
            std::this_thread::sleep_for(std::chrono::milliseconds(moment(random)));
            Clock::time_point start = Clock::now();
            const HResult at_once = machine->Save(task);
            if (at_once == HResult::VM_E_VM_NOT_RUNNING) {
                break;  // it has powered itself off
            }
            if (!succeeded_in_time(at_once, task)) {
                status = task->Error() == HResult::VM_E_VM_NOT_RUNNING ? 0 : 1;
                break;
            }
            saving += milliseconds_since(start);
            largest = std::max(largest, std::filesystem::file_size(settings.saved_state));
            start = Clock::now();
            status = succeeded_in_time(machine->Startup(task), task) ? 0 : 1;
            restoring += milliseconds_since(start);
            ++rounds;
        }
        while (status == 0 && machine->State() != VMVMState::TurnedOff) {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        if (!machine->failure().empty()) {
            std::fprintf(stderr, "soak: %s\n", machine->failure().c_str());
            status = 1;
        }
    }
    std::fflush(stdout);
    std::fprintf(stderr,
                 "soak: %lu rounds, save %.0f ms, restore %.0f ms on average, "
                 "largest file %ju bytes\n",
                 rounds, saving / static_cast<double>(std::max(rounds, 1ul)),
                 restoring / static_cast<double>(std::max(rounds, 1ul)), largest);
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
    return status;
}
