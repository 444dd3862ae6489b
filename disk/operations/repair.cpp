#include "disk/operations/repair.h"

#include <algorithm>
#include <exception>
#include <string>
#include <utility>

#include "disk/new_file.h"
#include "disk/operations/chain_check.h"
#include "disk/operations/repair_steps.h"
#include "disk/vhd/dynamic_header.h"

namespace vpc::disk {
namespace {

using Kind = vhd::RepairStep::Kind;

constexpr std::uint64_t kPiece = std::uint64_t{1} << 20;
/// Side files that one image can have.
constexpr int kMaxSideFiles = 1000;

/// Writes one after the other.
class SideFile {
  public:
    explicit SideFile(File& file) : file_(file) {}

    Status add_text(const std::string& text) {
        return add(ConstBuffer(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
    }
    Status add(ConstBuffer bytes) {
        auto status = file_.write(end_, bytes);
        end_ += bytes.size();
        return status;
    }

  private:
    File& file_;
    std::uint64_t end_ = 0;
};

/// A range of the image, in pieces, without holes and what lies beyond its end.
Status keep_range(File& image, std::uint64_t begin, std::uint64_t end, SideFile& side) {
    std::vector<std::uint8_t> bytes;
    while (begin < end) {
        const auto run = image.extent(begin, std::min(end - begin, kPiece));
        if (!run) {
            return tl::unexpected<Error>(run.error());
        }
        if (run->data) {
            bytes.resize(run->bytes);
            if (auto status = image.read(begin, Buffer(bytes)); !status) {
                return status;
            }
            auto status = side.add_text("at " + std::to_string(begin) + " " + std::to_string(bytes.size()) + "\n");
            status = status ? side.add(bytes) : status;
            status = status ? side.add_text("\n") : status;
            if (!status) {
                return status;
            }
        }
        begin += run->bytes;
    }
    return {};
}

/// A new file beside the image under the first free name.
Result<std::pair<std::unique_ptr<NewFile>, std::filesystem::path>> create_side_file(
    const std::filesystem::path& image) {
    for (int number = 1;; ++number) {
        std::filesystem::path path = image;
        path += ".replaced";
        if (number > 1) {
            path += "-" + std::to_string(number);
        }
        auto file = NewFile::create(path, false);
        if (file) {
            return std::pair(std::move(*file), path);
        }
        if (file.error().code != ErrorCode::AlreadyExists || number == kMaxSideFiles) {
            return tl::unexpected<Error>(file.error());
        }
    }
}

bool replaces_something(const vhd::Examination& examination, std::uint64_t size) {
    return std::any_of(examination.steps.begin(), examination.steps.end(), [size](const vhd::RepairStep& step) {
        return step.kind != Kind::Barrier && step.offset < size;
    });
}

Status repair_file(const std::filesystem::path& image, const RepairOptions& options, WorkMeter& meter,
                   RepairReport& report) {
    const auto file = open_locked(image, OpenMode::ReadWrite, LockKind::Exclusive);
    if (!file) {
        return tl::unexpected<Error>(file.error());
    }
    auto examination = vhd::examine(**file, options.accept_loss, meter);
    if (!examination) {
        return tl::unexpected<Error>(examination.error());
    }
    report.before = std::move(examination->report);
    const auto size = (*file)->size();
    if (!size) {
        return tl::unexpected<Error>(size.error());
    }
    if (replaces_something(*examination, *size)) {
        auto side = create_side_file(image);
        if (!side) {
            return tl::unexpected<Error>(side.error());
        }
        if (auto status = keep_replaced_bytes(**file, *examination, side->first->file()); !status) {
            return status;
        }
        if (auto status = side->first->complete(); !status) {
            return status;
        }
        report.side_file = side->second;
    }
    if (auto status = carry_out_steps(**file, *examination, meter); !status) {
        return status;
    }
    examination = vhd::examine(**file, false, meter);
    if (!examination) {
        return tl::unexpected<Error>(examination.error());
    }
    report.after = std::move(examination->report);
    return {};
}

}  // namespace

Status keep_replaced_bytes(File& image, const vhd::Examination& examination, File& side) {
    const auto size = image.size();
    if (!size) {
        return tl::unexpected<Error>(size.error());
    }
    SideFile kept(side);
    if (auto status = kept.add_text("vpc-replaced 1\nsize " + std::to_string(*size) + "\n"); !status) {
        return status;
    }
    for (const vhd::RepairStep& step : examination.steps) {
        std::uint64_t end = 0;
        switch (step.kind) {
            case Kind::Write:
                end = std::min<std::uint64_t>(step.offset + step.bytes.size(), *size);
                break;
            case Kind::CompleteBitmap:
                end = step.offset + vhd::bitmap_bytes(examination.block_size);
                break;
            case Kind::Resize:
                end = *size;
                break;
            case Kind::Barrier:
                break;
        }
        if (auto status = keep_range(image, step.offset, end, kept); !status) {
            return status;
        }
    }
    return {};
}

Status carry_out_steps(File& image, const vhd::Examination& examination, WorkMeter& meter) {
    for (const vhd::RepairStep& step : examination.steps) {
        Status status;
        switch (step.kind) {
            case Kind::Write:
                status = image.write(step.offset, ConstBuffer(step.bytes));
                break;
            case Kind::Resize:
                status = image.truncate(step.offset);
                break;
            case Kind::CompleteBitmap: {
                std::vector<std::uint8_t> bitmap(vhd::bitmap_bytes(examination.block_size));
                status = image.read(step.offset, Buffer(bitmap));
                if (status) {
                    const auto set =
                        vhd::complete_bitmap(image, step.offset, examination.block_size, step.sectors, bitmap, meter);
                    status = set ? image.write(step.offset, ConstBuffer(bitmap)) : tl::unexpected<Error>(set.error());
                }
                break;
            }
            case Kind::Barrier:
                status = image.sync();
                break;
        }
        if (!status) {
            return status;
        }
    }
    return {};
}

Result<RepairReport> repair(const std::filesystem::path& image, const RepairOptions& options,
                            const Operation& operation) {
    try {
        WorkMeter meter(operation, 1);
        RepairReport report;
        if (auto status = repair_file(image, options, meter, report); !status) {
            return tl::unexpected<Error>(status.error());
        }
        // The parents could not be looked at before, with the file locked; they are the same.
        if (auto status = check_chain(image, options.parent_folders, report.after); !status) {
            return tl::unexpected<Error>(status.error());
        }
        meter.finish();
        return report;
    } catch (const std::exception& error) {
        return fail(ErrorCode::IoError, std::string("the host lacks memory: ") + error.what());
    }
}

}  // namespace vpc::disk
