#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "disk/operations/compact.h"
#include "disk/operations/merge.h"
#include "disk/operations/set_parent.h"
#include "disk/vhd/footer_search.h"
#include "ui/cli/disk_command.h"
#include "ui/cli/disk_options.h"
#include "ui/cli/disk_size.h"
#include "ui/cli/disk_task.h"

namespace vpc::cli {
namespace {

struct CompactCommand {
    std::string file;
    disk::CompactOptions how;
    bool json = false;
    TaskOptions task;
};

nlohmann::ordered_json volume_json(const disk::VolumeReport& volume) {
    return {{"start", volume.first_sector * disk::kSectorSize},
            {"length", volume.sectors * disk::kSectorSize},
            {"file_system", volume.file_system},
            {"free", volume.free_sectors * disk::kSectorSize},
            {"skipped", volume.skipped}};
}

void print_compaction(const disk::Compaction& compaction, bool json) {
    if (json) {
        nlohmann::ordered_json object = {{"size_before", compaction.size_before},
                                         {"size_after", compaction.size_after},
                                         {"volumes", nlohmann::ordered_json::array()}};
        for (const disk::VolumeReport& volume : compaction.free_space.volumes) {
            object["volumes"].push_back(volume_json(volume));
        }
        print_text(stdout, fmt::format("{}\n", object.dump()));
        return;
    }
    for (const disk::VolumeReport& volume : compaction.free_space.volumes) {
        print_text(
            stdout,
            fmt::format("volume at byte {}, {}: {}\n", volume.first_sector * disk::kSectorSize,
                        volume.file_system.empty() ? size_text(volume.sectors * disk::kSectorSize) : volume.file_system,
                        volume.skipped.empty() ? size_text(volume.free_sectors * disk::kSectorSize) + " free"
                                               : "left as it is, because " + volume.skipped));
    }
    print_text(stdout, fmt::format("{} -> {}\n", size_text(compaction.size_before), size_text(compaction.size_after)));
}

ExitStatus compact_image(const CompactCommand& options) {
    disk::Compaction compaction;
    const ExitStatus status = run_task(fmt::format("Compacting {}", options.file), options.task,
                                       [&](const disk::Operation& operation) -> disk::Status {
                                           auto done = disk::compact(options.file, options.how, operation);
                                           if (!done) {
                                               return tl::unexpected<disk::Error>(done.error());
                                           }
                                           compaction = std::move(*done);
                                           return {};
                                       });
    if (status == kDone && (options.json || options.task.progress != "json")) {
        print_compaction(compaction, options.json);
    }
    return status;
}

void add_compact(CLI::App& disk, Action& action) {
    auto options = std::make_shared<CompactCommand>();
    CLI::App* compact = disk.add_subcommand("compact", "make an image's file smaller, in place");
    compact->add_option("FILE", options->file, "dynamic or differencing VHD that nobody uses")->required();
    compact->add_flag("--free-space", options->how.free_space,
                      "also drop blocks that no file uses on FAT, NTFS and ext2/3/4 volumes, by their own records");
    compact->add_flag("--json", options->json, "print the sizes before and after as one JSON object");
    add_parent_folders(*compact, options->how.parent_folders);
    add_task_options(*compact, options->task);
    compact->footer(
        "Drops blocks that hold only zeros, or in a differencing image only what its parent holds, and closes the\n"
        "gaps. No file on the disk changes.\n"
        "Examples: vpc disk compact xp.vhd\n"
        "          vpc disk compact xp.vhd --free-space");
    compact->callback([options, &action] { action = [options] { return compact_image(*options); }; });
}

struct MergeCommand {
    std::string child;
    disk::MergeOptions how;
    TaskOptions task;
};

void add_merge(CLI::App& disk, Action& action) {
    auto options = std::make_shared<MergeCommand>();
    CLI::App* merge = disk.add_subcommand("merge", "write what a differencing image holds into its parent");
    merge->add_option("CHILD", options->child, "differencing VHD that nobody uses")->required();
    merge->add_flag("--all", options->how.all, "merge it and all its parents into the root of the chain");
    merge->add_flag("--keep", options->how.keep_children, "do not delete the files of the merged images");
    merge->add_flag("--force", options->how.allow_other_children,
                    "go on although other images have the same parent, which will hold nonsense afterwards");
    add_parent_folders(*merge, options->how.parent_folders);
    add_task_options(*merge, options->task);
    merge->footer(
        "Interrupted, it can be repeated: until then the child still holds its disk, the parent alone a mixture.\n"
        "At the end the child's file, which is of no use any more, is deleted.\n"
        "Examples: vpc disk merge snapshot.vhd\n"
        "          vpc disk merge snapshot.vhd --all");
    merge->callback([options, &action] {
        action = [options] {
            return run_task(
                fmt::format("Merging {}", options->child), options->task,
                [&](const disk::Operation& operation) { return disk::merge(options->child, options->how, operation); });
        };
    });
}

struct SetParentCommand {
    std::string child;
    std::string parent;
    disk::SetParentOptions how;
    bool json = false;
    TaskOptions task;
};

ExitStatus set_parent_of_image(const SetParentCommand& options) {
    disk::ParentChange change;
    const ExitStatus status = run_task(fmt::format("Setting the parent of {}", options.child), options.task,
                                       [&](const disk::Operation& operation) -> disk::Status {
                                           const auto done =
                                               disk::set_parent(options.child, options.parent, options.how, operation);
                                           if (!done) {
                                               return tl::unexpected<disk::Error>(done.error());
                                           }
                                           change = *done;
                                           return {};
                                       });
    if (status == kDone && options.json) {
        const nlohmann::ordered_json object = {{"file", options.child},
                                               {"parent", options.parent},
                                               {"parent_id", disk::vhd::text_of_id(change.id_after)},
                                               {"parent_id_before", disk::vhd::text_of_id(change.id_before)}};
        // File names need not be UTF-8.
        print_text(stdout,
                   fmt::format("{}\n", object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)));
    }
    return status;
}

void add_set_parent(CLI::App& disk, Action& action) {
    auto options = std::make_shared<SetParentCommand>();
    CLI::App* set_parent = disk.add_subcommand("set-parent", "tell a differencing image where its parent is now");
    set_parent->add_option("CHILD", options->child, "differencing VHD that nobody uses")->required();
    set_parent->add_option("PARENT", options->parent, "the image that its parent is, or a copy of that")->required();
    set_parent->add_flag("-u,--ignore-id-mismatch", options->how.ignore_id_mismatch,
                         "take a parent with another id, too: right only if it holds what the old one held");
    set_parent->add_flag("--json", options->json, "print the parent's ids before and after as one JSON object");
    add_parent_folders(*set_parent, options->how.parent_folders);
    add_task_options(*set_parent, options->task);
    set_parent->footer(
        "For images that were moved or renamed. The disk's contents are not looked at or changed: "
        "--ignore-id-mismatch\n"
        "is what qemu-img calls rebase -u, and Windows Set-VHD -IgnoreIdMismatch.\n"
        "Example: vpc disk set-parent snapshot.vhd ../images/xp.vhd");
    set_parent->callback([options, &action] { action = [options] { return set_parent_of_image(*options); }; });
}

}  // namespace

void add_disk_change_commands(CLI::App& disk, Action& action) {
    add_compact(disk, action);
    add_merge(disk, action);
    add_set_parent(disk, action);
}

}  // namespace vpc::cli
