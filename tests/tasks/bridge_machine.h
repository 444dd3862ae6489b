#pragma once
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "tasks/virtual_machine.h"
#include "tests/disk/temporary_folder.h"

namespace vpc::tasks::testing {

/// A BIOS of 64 KiB that carries bytes between COM1 and COM2, so that a test at COM1 can play the agent in the guest.
/// From COM1, 01h makes it switch the machine off and 02h reset it; the ACPI power button switches it off, too.
inline std::vector<std::uint8_t> bridging_bios() {
    constexpr std::array<std::uint8_t, 103> kCode{
        0xBA, 0xF8, 0x0C,                    // MOV DX,CF8h
        0x66, 0xB8, 0x40, 0x0B, 0x00, 0x80,  // MOV EAX,80000B40h (device 1, function 3: PMBASE)
        0x66, 0xEF,                          // OUT DX,EAX
        0xBA, 0xFC, 0x0C,                    // MOV DX,CFCh
        0x66, 0xB8, 0x01, 0x06, 0x00, 0x00,  // MOV EAX,601h
        0x66, 0xEF,                          // OUT DX,EAX
        0xBA, 0xF8, 0x0C,                    // MOV DX,CF8h
        0x66, 0xB8, 0x80, 0x0B, 0x00, 0x80,  // MOV EAX,80000B80h (PMREGMISC)
        0x66, 0xEF,                          // OUT DX,EAX
        0xBA, 0xFC, 0x0C,                    // MOV DX,CFCh
        0xB0, 0x01,                          // MOV AL,1 (PMIOSE)
        0xEE,                                // OUT DX,AL
        0xBA, 0x00, 0x06,                    // next: MOV DX,600h (PMSTS)
        0xED,                                // IN AX,DX
        0xF6, 0xC4, 0x01,                    // TEST AH,1 (PWRBTN_STS)
        0x75, 0x2A,                          // JNZ off
        0xBA, 0xFD, 0x02,                    // MOV DX,2FDh
        0xEC,                                // IN AL,DX
        0xA8, 0x01,                          // TEST AL,1 (DR)
        0x74, 0x08,                          // JZ host
        0xBA, 0xF8, 0x02,                    // MOV DX,2F8h
        0xEC,                                // IN AL,DX
        0xBA, 0xF8, 0x03,                    // MOV DX,3F8h
        0xEE,                                // OUT DX,AL
        0xBA, 0xFD, 0x03,                    // host: MOV DX,3FDh
        0xEC,                                // IN AL,DX
        0xA8, 0x01,                          // TEST AL,1 (DR)
        0x74, 0xDF,                          // JZ next
        0xBA, 0xF8, 0x03,                    // MOV DX,3F8h
        0xEC,                                // IN AL,DX
        0x3C, 0x01,                          // CMP AL,1
        0x74, 0x0A,                          // JE off
        0x3C, 0x02,                          // CMP AL,2
        0x74, 0x0E,                          // JE reset
        0xBA, 0xF8, 0x02,                    // MOV DX,2F8h
        0xEE,                                // OUT DX,AL
        0xEB, 0xCD,                          // JMP next
        0xBA, 0x04, 0x06,                    // off: MOV DX,604h (PMCNTRL)
        0xB8, 0x00, 0x20,                    // MOV AX,2000h (SUS_EN, soft off)
        0xEF,                                // OUT DX,AX
        0xF4,                                // HLT
        0xB0, 0xFE,                          // reset: MOV AL,FEh
        0xE6, 0x64,                          // OUT 64h,AL
        0xF4,                                // HLT
    };
    constexpr std::array<std::uint8_t, 5> kReset{0xEA, 0x00, 0x00, 0x00, 0xF0};  // JMP F000:0000
    std::vector<std::uint8_t> bios(64 * 1024, 0xF4);
    std::copy(kCode.begin(), kCode.end(), bios.begin());
    std::copy(kReset.begin(), kReset.end(), bios.begin() + 0xFFF0);
    return bios;
}

/// Such a machine, with the test as its agent.
class BridgeMachine {
  public:
    using Json = nlohmann::json;
    /// What the agent sends back for a command's arguments; empty: nothing.
    using Command = std::function<std::string(const Json& arguments)>;

    BridgeMachine() {
        settings.name = "bridge";
        settings.memory = 4;
        settings.bios = bridging_bios();
        settings.saved_state = folder / "bridge.vsv";
        settings.serial[0] = [this](std::uint8_t byte) { from_guest(byte); };
        settings.unix_time = [] { return std::int64_t{1'000'000'000}; };
        commands["guest-ping"] = returning(Json::object());
    }
    ~BridgeMachine() {
        // The guest may be asking its agent still, who uses `machine` until the guest is off.
        std::shared_ptr<IVMTask> task;
        if (machine && machine->TurnOff(task) == HResult::S_OK) {
            task->WaitForCompletion(-1);
        }
    }
    BridgeMachine(const BridgeMachine&) = delete;
    BridgeMachine& operator=(const BridgeMachine&) = delete;

    static Command returning(const Json& value) {
        return [text = Json{{"return", value}}.dump() + "\n"](const Json&) { return text; };
    }
    static Command failing(const char* kind, const char* description) {
        return [text = Json{{"error", {{"class", kind}, {"desc", description}}}}.dump() + "\n"](const Json&) {
            return text;
        };
    }

    void start() {
        // It is also how long the agent may take to answer: long enough for a host that does something else now and
        // then, but short where there is none who could.
        settings.heart_beat = std::chrono::milliseconds(agent ? 1000 : 200);
        machine = VirtualMachine::make(settings, worker, tasks);
        start_again();
    }
    /// The same machine, which is off.
    void start_again() {
        std::shared_ptr<IVMTask> task;
        if (machine->Startup(task) == HResult::S_OK) {
            task->WaitForCompletion(-1);
        }
        machine->post([this](devices::Board& board) { board.serial(0).on_room([this, &board] { deliver(board); }); });
    }
    /// To the guest's COM1, and from there to the host's end of COM2.
    void send(const std::string& text) {
        {
            const std::scoped_lock guard(mutex_);
            to_guest_ += text;
        }
        machine->post([this](devices::Board& board) { deliver(board); });
    }
    std::vector<std::string> asked() const {
        const std::scoped_lock guard(mutex_);
        return asked_;
    }
    bool was_asked(const std::string& command, std::ptrdiff_t times = 1) const {
        for (int i = 0; i < 5000; ++i) {
            const auto all = asked();
            if (std::count(all.begin(), all.end(), command) >= times) {
                return true;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        return false;
    }

    disk::testing::TemporaryFolder folder;
    MachineSettings settings;
    Worker worker;
    TaskCollection tasks;
    std::shared_ptr<VirtualMachine> machine;
    bool agent = true;  // before start()
    std::map<std::string, Command> commands;

  private:
    void from_guest(std::uint8_t byte) {  // the machine's thread
        if (byte == 0xFF) {
            line_.clear();
            delimited_ = true;
        } else if (byte != '\n') {
            line_ += static_cast<char>(byte);
        } else if (agent) {
            answer(std::exchange(line_, {}));
        }
    }
    void answer(const std::string& line) {
        const Json message = Json::parse(line, nullptr, false);
        const std::string command = message.is_object() ? message.value("execute", "") : "";
        const Json arguments = message.is_object() ? message.value("arguments", Json::object()) : Json::object();
        std::string text;
        if (command == "guest-sync-delimited") {
            text = (delimited_ ? "\xFF" : "") + Json{{"return", arguments.value("id", 0LL)}}.dump() + "\n";
            delimited_ = false;
        } else {
            const auto found = commands.find(command);
            text =
                found == commands.end() ? failing("CommandNotFound", "not here")(arguments) : found->second(arguments);
        }
        {
            const std::scoped_lock guard(mutex_);
            if (command != "guest-sync-delimited") {
                asked_.push_back(command);
            }
        }
        send(text);
    }
    void deliver(devices::Board& board) {
        const std::scoped_lock guard(mutex_);
        std::size_t count = 0;
        while (count < to_guest_.size() && board.serial(0).room() != 0) {
            board.serial(0).receive(static_cast<std::uint8_t>(to_guest_[count++]));
        }
        to_guest_.erase(0, count);
    }

    mutable std::mutex mutex_;
    std::string to_guest_;
    std::vector<std::string> asked_;
    std::string line_;
    bool delimited_ = false;
};

}  // namespace vpc::tasks::testing
