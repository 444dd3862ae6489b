#pragma once
#include <sys/wait.h>
#include <array>
#include <cstdio>
#include <sstream>
#include <string>

namespace vpc::testing {

struct Ran {
    int status = -1;     ///< exit status, or -1 when it did not exit
    std::string output;  ///< of both stdout and stderr
};

/// Runs a shell command. Tools of file systems are found where only root looks for programs.
inline Ran shell(const std::string& command) {
    Ran ran;
    std::FILE* pipe = ::popen(("PATH=$PATH:/usr/sbin:/sbin; exec 2>&1; " + command).c_str(), "r");
    if (pipe == nullptr) {
        return ran;
    }
    std::array<char, 4096> buffer = {};
    for (std::size_t got = 0; (got = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
        ran.output.append(buffer.data(), got);
    }
    const int status = ::pclose(pipe);
    ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return ran;
}

/// Whether all these programs, separated by spaces, are there.
inline bool installed(const std::string& tools) {
    std::istringstream each(tools);
    for (std::string tool; each >> tool;) {
        if (shell("command -v " + tool).status != 0) {
            return false;
        }
    }
    return true;
}

}  // namespace vpc::testing
