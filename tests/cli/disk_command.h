#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "tests/disk/temporary_folder.h"
#include "tests/shell.h"

namespace vpc::cli::testing {

/// Tests of `vpc disk` as people's scripts see it, each in a folder of its own.
class DiskCommand : public ::testing::Test {
  protected:
    /// Runs `vpc disk ARGUMENTS` in the folder.
    vpc::testing::Ran vpc_disk(const std::string& arguments) const {
        return vpc::testing::shell("cd " + folder_.path().string() + " && " VPC_PROGRAM " disk " + arguments);
    }

    vpc::testing::Ran in_folder(const std::string& command) const {
        return vpc::testing::shell("cd " + folder_.path().string() + "; " + command);
    }

    /// A raw disk of so many MiB: data in every fourth, of which nothing repeats, the rest a hole.
    std::string make_raw(std::uint64_t mebibytes) {
        std::mt19937_64 random(3);
        std::ofstream raw(folder_ / "disk.raw", std::ios::binary);
        std::vector<std::uint64_t> piece((1 << 20) / sizeof(std::uint64_t));
        for (std::uint64_t i = 0; i < mebibytes; i += 4) {
            std::generate(piece.begin(), piece.end(), std::ref(random));
            raw.seekp(static_cast<std::streamoff>(i << 20));
            raw.write(reinterpret_cast<const char*>(piece.data()), 1 << 20);
        }
        raw.close();
        std::filesystem::resize_file(folder_ / "disk.raw", mebibytes << 20);
        return "disk.raw";
    }

    std::vector<std::uint8_t> contents(const std::string& name) const {
        return disk::testing::TemporaryFolder::read(folder_ / name);
    }

    /// Expects the command to end with status 1 and one line on stderr that contains `part`.
    vpc::testing::Ran expect_failure(const std::string& arguments, const std::string& part) const {
        const vpc::testing::Ran ran = vpc_disk(arguments);
        EXPECT_EQ(ran.status, 1) << arguments << ": " << ran.output;
        EXPECT_EQ(ran.output.rfind("vpc: ", 0), 0u) << arguments << ": " << ran.output;
        EXPECT_NE(ran.output.find(part), std::string::npos) << arguments << ": " << ran.output;
        EXPECT_EQ(std::count(ran.output.begin(), ran.output.end(), '\n'), 1) << arguments << ": " << ran.output;
        return ran;
    }

    disk::testing::TemporaryFolder folder_;
};

}  // namespace vpc::cli::testing
