#include "disk/operations/check.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "disk/chain.h"
#include "disk/open_image.h"
#include "disk/operations/chain_check.h"
#include "disk/posix_file.h"
#include "disk/vhd/examination.h"

namespace vpc::disk {

bool CheckReport::clean() const {
    return std::none_of(findings.begin(), findings.end(), [](const Finding& finding) { return finding.problem; });
}

const char* name_of(FindingKind kind) {
    switch (kind) {
        case FindingKind::FooterMissing:
            return "footer_missing";
        case FindingKind::FooterDamaged:
            return "footer_damaged";
        case FindingKind::CopyDamaged:
            return "copy_damaged";
        case FindingKind::CopyDiffers:
            return "copy_differs";
        case FindingKind::TrailingBytes:
            return "trailing_bytes";
        case FindingKind::HeaderChecksum:
            return "header_checksum";
        case FindingKind::HeaderDamaged:
            return "header_damaged";
        case FindingKind::DiskTruncated:
            return "disk_truncated";
        case FindingKind::BlockOutside:
            return "block_outside";
        case FindingKind::BlockOnStructures:
            return "block_on_structures";
        case FindingKind::BlocksOverlap:
            return "blocks_overlap";
        case FindingKind::BlockTruncated:
            return "block_truncated";
        case FindingKind::BitmapIncomplete:
            return "bitmap_incomplete";
        case FindingKind::LocatorOutside:
            return "locator_outside";
        case FindingKind::ParentProblem:
            return "parent_problem";
        case FindingKind::ParentChanged:
            return "parent_changed";
        case FindingKind::UnusedSpace:
            return "unused_space";
        case FindingKind::Unusual:
            break;
    }
    return "unusual";
}

Status check_chain(const std::filesystem::path& image, const std::vector<std::filesystem::path>& parent_folders,
                   CheckReport& report) {
    // Without a parent only an image of another format is still to be found out.
    const bool raw = report.type == ImageType::Raw && report.clean();
    const bool usable = std::none_of(report.findings.begin(), report.findings.end(), [](const Finding& finding) {
        return finding.kind == FindingKind::HeaderDamaged || finding.kind == FindingKind::TrailingBytes;
    });
    if (!raw && (report.type != ImageType::Differencing || !usable)) {
        return {};
    }
    const auto links = read_chain(image, {.parent_folders = parent_folders, .quiet = true});
    if (!links) {
        // What examine() has found needs no second name.
        return report.clean() ? Status(tl::unexpected<Error>(links.error())) : Status();
    }
    for (const ChainLink& link : *links) {
        if (link.changed_since_child_was_made) {
            report.findings.push_back(
                {.kind = FindingKind::ParentChanged,
                 .text = "the parent " + quoted(link.path) +
                         " has another time than when its child was made: if it was written to, the child is "
                         "worthless"});
        }
        if (link.parent_problem) {
            report.findings.push_back(
                {.kind = FindingKind::ParentProblem, .problem = true, .text = link.parent_problem->message});
        }
    }
    return {};
}

Result<CheckReport> check(const std::filesystem::path& image, const std::vector<std::filesystem::path>& parent_folders,
                          const Operation& operation) {
    try {
        WorkMeter meter(operation, 1);
        const auto file = open_locked(image, OpenMode::ReadOnly, LockKind::Shared);
        if (!file) {
            return tl::unexpected<Error>(file.error());
        }
        auto examination = vhd::examine(**file, false, meter);
        if (!examination) {
            return tl::unexpected<Error>(examination.error());
        }
        if (auto status = check_chain(image, parent_folders, examination->report); !status) {
            return tl::unexpected<Error>(status.error());
        }
        meter.finish();
        return std::move(examination->report);
    } catch (const std::exception& error) {
        return fail(ErrorCode::IoError, std::string("the host lacks memory: ") + error.what());
    }
}

}  // namespace vpc::disk
