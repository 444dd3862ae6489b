// Saves and restores a real guest at random moments, and then lets it do the rest of its work. `--help` says how.
//
// Images are used as they are. The guest's COM1 goes to stdout; the exit status says whether the guest came to its end;
// the caller compares what it printed. How often it was saved, what that took and what the guest was doing goes to
// stderr.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tasks/virtual_machine.h"

namespace {

using namespace vpc::tasks;
using vpc::devices::Board;
using Clock = std::chrono::steady_clock;

struct Options {
    std::string hda;
    std::string hdb;
    std::string floppy;
    unsigned long memory = 128;
    unsigned long seed = std::random_device{}();
    unsigned long interval = 400;
    unsigned long rounds = 100;
    unsigned long time_limit = 600;
    std::string from;
    std::string until;
    std::vector<std::string> answers;
};

std::vector<std::uint8_t> firmware(const char* name) {
    std::ifstream file(std::string("/usr/share/seabios/") + name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

double milliseconds_since(Clock::time_point start) {
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// The other end of COM1's cable: prints what comes, looks for words in it, and answers.
class Terminal {
  public:
    explicit Terminal(const Options& options)
        : from_(options.from), until_(options.until), begun_(options.from.empty()) {
        for (std::size_t i = 0; i + 1 < options.answers.size(); i += 2) {
            answers_.emplace_back(options.answers[i], options.answers[i + 1]);
        }
    }
    /// The machine's thread.
    void take(std::uint8_t byte) {
        std::putchar(byte);
        const std::scoped_lock guard(mutex_);
        line_ = byte == '\n' ? std::string() : line_ + static_cast<char>(byte);
        begun_ = begun_ || line_.find(from_) != std::string::npos;
        found_ = found_ || (!until_.empty() && line_.find(until_) != std::string::npos);
        if (!answers_.empty() && line_.find(answers_.front().first) != std::string::npos) {
            to_send_ += answers_.front().second + "\r";
            answers_.pop_front();
        }
    }
    /// The machine's thread.
    void send(Board& board) {
        const std::scoped_lock guard(mutex_);
        std::size_t sent = 0;
        while (sent < to_send_.size() && board.serial(0).room() != 0) {
            board.serial(0).receive(static_cast<std::uint8_t>(to_send_[sent++]));
        }
        to_send_.erase(0, sent);
    }
    bool has_to_send() {
        const std::scoped_lock guard(mutex_);
        return !to_send_.empty();
    }
    bool begun() {
        const std::scoped_lock guard(mutex_);
        return begun_;
    }
    bool found() {
        const std::scoped_lock guard(mutex_);
        return found_;
    }

  private:
    const std::string from_;
    const std::string until_;
    std::mutex mutex_;
    std::string line_;
    std::deque<std::pair<std::string, std::string>> answers_;
    std::string to_send_;
    bool begun_;
    bool found_ = false;
};

/// What the guest was doing when it was saved.
struct Moments {
    unsigned looks = 0;
    unsigned real_mode = 0;
    unsigned virtual_8086 = 0;
    unsigned graphics = 0;
    unsigned disk_dma = 0;

    void look(Board& board) {
        constexpr unsigned kBusMasterBase = 0x20;  // BAR 4 of the PIIX4's IDE function
        constexpr unsigned kActive = 1;            // BMISX
        const vpc::CpuState cpu = board.cpu().state();
        const bool is_protected = (cpu.cr0 & vpc::cr0::kProtectionEnable) != 0;
        const std::uint32_t base = board.ide().read_config(kBusMasterBase, 4) & 0xFFF0u;
        const auto active = [&](unsigned channel) {
            const auto port = static_cast<std::uint16_t>(base + channel * 8 + 2);
            return base != 0 && (board.ports().peek(port, 1) & kActive) != 0;
        };
        ++looks;
        real_mode += !is_protected;
        virtual_8086 += is_protected && (cpu.eflags & vpc::eflags::kVirtual8086) != 0;
        graphics += !board.vga().text();
        disk_dma += active(0) || active(1);
    }
};

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

/// Saves and restores one machine.
class Soak {
  public:
    Soak(const Options& options, MachineSettings settings)
        : options_(options), saved_state_(settings.saved_state), random_(options.seed), terminal_(options) {
        settings.serial[0] = [this](std::uint8_t byte) { terminal_.take(byte); };
        machine_ = VirtualMachine::make(std::move(settings), worker_, tasks_);
    }

    bool run() {
        std::shared_ptr<IVMTask> task;
        bool good = succeeded_in_time(machine_->Startup(task), task);
        std::uniform_int_distribution<unsigned long> moment(1, options_.interval);
        while (good && rounds_ < options_.rounds && run_for(std::chrono::milliseconds(moment(random_)))) {
            good = terminal_.begun() ? save_and_restore() : Clock::now() < end_;
        }
        while (good && run_for(std::chrono::milliseconds(100))) {
            if (Clock::now() > end_) {
                std::fprintf(stderr, "soak: the guest has not come to its end in time\n");
                good = false;
            }
        }
        if (!machine_->failure().empty()) {
            std::fprintf(stderr, "soak: %s\n", machine_->failure().c_str());
            good = false;
        }
        return good;
    }
    void report() const {
        const auto rounds = static_cast<double>(std::max(rounds_, 1ul));
        std::fprintf(stderr, "soak: %lu rounds, save %.0f ms, restore %.0f ms on average, largest file %ju bytes\n",
                     rounds_, saving_ / rounds, restoring_ / rounds, largest_);
        std::fprintf(stderr,
                     "soak: of %u looked at: %u in real mode, %u in V86 mode, %u in graphics, %u with disk DMA\n",
                     moments_.looks, moments_.real_mode, moments_.virtual_8086, moments_.graphics, moments_.disk_dma);
    }

  private:
    /// False: the guest has come to its end.
    bool run_for(std::chrono::milliseconds time) {
        constexpr std::chrono::milliseconds kTick{3};
        for (const Clock::time_point until = Clock::now() + time; Clock::now() < until;) {
            std::this_thread::sleep_for(std::min(time, kTick));
            if (terminal_.found() || machine_->State() == VMVMState::TurnedOff) {
                return false;
            }
            if (terminal_.has_to_send()) {
                machine_->post([this](Board& board) { terminal_.send(board); });
            }
        }
        return true;
    }

    bool save_and_restore() {
        std::shared_ptr<IVMTask> task;
        // Every second time as it stands, so that one can look at what it is doing.
        if (rounds_ % 2 == 1 && machine_->Pause() == HResult::S_OK) {
            machine_->look_at([this](Board& board) { moments_.look(board); });
        }
        Clock::time_point start = Clock::now();
        const HResult at_once = machine_->Save(task);
        if (at_once == HResult::VM_E_VM_NOT_RUNNING) {
            return true;  // it has powered itself off
        }
        if (!succeeded_in_time(at_once, task)) {
            return task && task->Error() == HResult::VM_E_VM_NOT_RUNNING;
        }
        saving_ += milliseconds_since(start);
        largest_ = std::max(largest_, std::filesystem::file_size(saved_state_));
        start = Clock::now();
        if (!succeeded_in_time(machine_->Startup(task), task)) {
            return false;
        }
        restoring_ += milliseconds_since(start);
        ++rounds_;
        return true;
    }

    const Options& options_;
    const std::filesystem::path saved_state_;
    std::mt19937 random_;
    const Clock::time_point end_ = Clock::now() + std::chrono::seconds(options_.time_limit);
    unsigned long rounds_ = 0;
    double saving_ = 0;
    double restoring_ = 0;
    std::uintmax_t largest_ = 0;
    Moments moments_;
    Terminal terminal_;
    Worker worker_;
    TaskCollection tasks_;
    std::shared_ptr<VirtualMachine> machine_;
};

}  // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app("Saves and restores a real guest at random moments");
    app.add_option("--hda", options.hda, "hard disk");
    app.add_option("--hdb", options.hdb, "second hard disk");
    app.add_option("--floppy", options.floppy, "floppy disk");
    app.add_option("--memory", options.memory, "MiB");
    app.add_option("--seed", options.seed, "of the moments");
    app.add_option("--interval", options.interval, "the longest time between two saves, in milliseconds");
    app.add_option("--rounds", options.rounds, "so often");
    app.add_option("--time-limit", options.time_limit, "seconds");
    app.add_option("--from", options.from, "words on COM1 before which nothing is saved");
    app.add_option("--until", options.until, "words on COM1 that end it; otherwise the guest switches itself off");
    app.add_option("--answer", options.answers, "words on COM1, and the line to send when they come; in this order")
        ->type_size(2)
        ->expected(-1);
    CLI11_PARSE(app, argc, argv);

    std::string folder_pattern = (std::filesystem::temp_directory_path() / "vpc-soak-XXXXXX").string();
    const std::filesystem::path folder = ::mkdtemp(folder_pattern.data());
    MachineSettings settings;
    settings.name = "soak";
    settings.memory = options.memory;
    settings.bios = firmware("bios.bin");
    settings.vga_bios = firmware("vgabios-stdvga.bin");
    settings.disks[0] = options.hda;
    settings.disks[1] = options.hdb;
    settings.floppies[0] = options.floppy;
    settings.saved_state = folder / "soak.vsv";
    settings.unix_time = [] { return static_cast<std::int64_t>(std::time(nullptr)); };

    bool good = false;
    {
        Soak soak(options, std::move(settings));
        good = soak.run();
        soak.report();
    }
    std::fflush(stdout);
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
    return good ? 0 : 1;
}
