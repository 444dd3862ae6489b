#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "tests/disk/temporary_folder.h"
#include "tests/shell.h"

namespace vpc::cli::testing {

/// A disk whose boot sector sends every key that is typed to COM1.
inline std::vector<std::uint8_t> echoing_disk() {
    constexpr std::array<std::uint8_t, 10> kCode{
        0xB4, 0x00,        // MOV AH,0
        0xCD, 0x16,        // INT 16h: the next key, in AL
        0xBA, 0xF8, 0x03,  // MOV DX,3F8h
        0xEE,              // OUT DX,AL
        0xEB, 0xF6,        // JMP to the beginning
    };
    std::vector<std::uint8_t> disk(1 << 20);
    std::copy(kCode.begin(), kCode.end(), disk.begin());
    disk[510] = 0x55;
    disk[511] = 0xAA;
    return disk;
}

/// A folder with the machine "a", which has that disk and logs to the file "log" what it sends. Nothing runs.
class ControlledMachine : public ::testing::Test {
  protected:
    void SetUp() override {
        std::filesystem::create_directory(folder_ / "run");
        folder_.write("c.img", echoing_disk());
        ASSERT_EQ(vpc("create a --memory 16 --boot c --hda c.img --serial file:log").status, 0);
    }
    void TearDown() override {
        vpc("turnoff a");
        vpc("turnoff b");
    }
    /// Runs `vpc ARGUMENTS` in the folder, which also holds the machines and their sockets.
    vpc::testing::Ran vpc(const std::string& arguments) const { return in_folder(VPC_PROGRAM " " + arguments); }
    vpc::testing::Ran in_folder(const std::string& command) const {
        return vpc::testing::shell("cd " + folder_.path().string() +
                                   "; export XDG_DATA_HOME=$PWD/data XDG_RUNTIME_DIR=$PWD/run; " + command);
    }
    std::string state() const {
        return nlohmann::json::parse(vpc("show a --json").output, nullptr, false).value("state", "");
    }
    /// A killed process takes a moment.
    std::string state_when_dead() const {
        std::string now = state();
        for (int i = 0; i < 500 && now == "running"; ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
            now = state();
        }
        return now;
    }
    std::string log() const {
        const auto bytes = disk::testing::TemporaryFolder::read(folder_ / "log");
        return {bytes.begin(), bytes.end()};
    }
    bool logs(const std::string& text) const {
        for (int i = 0; i < 3000 && log().find(text) == std::string::npos; ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        return log().find(text) != std::string::npos;
    }
    /// Until the guest echoes: its BIOS drops keys that come before.
    void wait_for_guest() const {
        for (int i = 0; i < 200 && log().empty(); ++i) {
            vpc("type a .");
            std::this_thread::sleep_for(std::chrono::milliseconds(50));
        }
        ASSERT_FALSE(log().empty());
    }

    disk::testing::TemporaryFolder folder_;
};

}  // namespace vpc::cli::testing
