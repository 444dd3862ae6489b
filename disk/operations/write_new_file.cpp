#include "disk/operations/write_new_file.h"

#include <exception>
#include <string>

#include "disk/new_file.h"

namespace vpc::disk {

Status write_new_file(const std::filesystem::path& target, bool overwrite, const Operation& operation,
                      const std::function<Status(File&, WorkMeter&)>& write) {
    try {
        WorkMeter meter(operation, 1);
        const auto file = NewFile::create(target, overwrite);
        if (!file) {
            return tl::unexpected<Error>(file.error());
        }
        if (auto status = meter.tick(); !status) {
            return status;
        }
        if (auto status = write((*file)->file(), meter); !status) {
            return status;
        }
        if (auto status = meter.wait_for([&file] { return (*file)->file().sync(); }); !status) {
            return status;
        }
        // Stopped at the last moment: still without a trace.
        if (auto status = meter.tick(); !status) {
            return status;
        }
        if (auto status = (*file)->complete(); !status) {
            return status;
        }
        meter.finish();
        return {};
    } catch (const std::exception& error) {
        return fail(ErrorCode::IoError, std::string("the host lacks memory or threads: ") + error.what());
    }
}

}  // namespace vpc::disk
