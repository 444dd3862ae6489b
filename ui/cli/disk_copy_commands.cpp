#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "disk/operations/convert.h"
#include "disk/operations/create.h"
#include "disk/operations/merge.h"
#include "ui/cli/disk_command.h"
#include "ui/cli/disk_options.h"
#include "ui/cli/disk_task.h"

namespace vpc::cli {
namespace {

using disk::ImageType;

struct CopyOptions {
    std::string source;
    std::vector<std::filesystem::path> parent_folders;
    disk::ConvertTarget target;
    TaskOptions task;
};

/// `convert` and `merge-to`, which Virtual PC calls by different names.
ExitStatus copy_image(const std::string& description, const CopyOptions& options) {
    return run_task(description, options.task, [&](const disk::Operation& operation) {
        return disk::merge_to(options.source, options.parent_folders, options.target, operation);
    });
}

void add_copy_options(CLI::App& app, CopyOptions& options) {
    app.add_option("DST", options.target.file, "the new image, which appears when it is complete")->required();
    add_type(app, options.target.type, {ImageType::Dynamic, ImageType::Fixed, ImageType::Raw});
    add_block_size(app, options.target.block_size, "size of a dynamic image's blocks, a power of two (default 2M)");
    app.add_flag("--reserve", options.target.reserve, "fixed or raw: take all of the room on the host's disk now");
    app.add_flag("--force", options.target.overwrite, "replace a file of that name");
    add_parent_folders(app, options.parent_folders);
    add_task_options(app, options.task);
}

void add_convert(CLI::App& disk, Action& action) {
    auto options = std::make_shared<CopyOptions>();
    CLI::App* convert = disk.add_subcommand("convert", "copy an image into a new one of another type");
    convert->add_option("SRC", options->source, "image, of any type")->required();
    add_copy_options(*convert, *options);
    convert->footer(
        "The source is only read. What is zeros takes no room in the new image.\n"
        "Example: vpc disk convert xp.vhd xp-fixed.vhd --type fixed");
    convert->callback([options, &action] {
        action = [options] { return copy_image(fmt::format("Converting {}", options->source), *options); };
    });
}

void add_merge_to(CLI::App& disk, Action& action) {
    auto options = std::make_shared<CopyOptions>();
    CLI::App* merge_to = disk.add_subcommand("merge-to", "copy a chain into a new image that needs no parent");
    merge_to->add_option("CHILD", options->source, "differencing VHD; it and its parents are only read")->required();
    add_copy_options(*merge_to, *options);
    merge_to->footer("Example: vpc disk merge-to snapshot.vhd whole.vhd --type dynamic");
    merge_to->callback([options, &action] {
        action = [options] {
            return copy_image(fmt::format("Merging {} into {}", options->source, options->target.file.string()),
                              *options);
        };
    });
}

struct CreateOptions {
    disk::NewImage image;
    TaskOptions task;
};

/// What no image can be made of is wrong usage.
void check_create_options(const disk::NewImage& image) {
    const bool differencing = image.type == ImageType::Differencing;
    if (differencing && image.parent.empty()) {
        throw CLI::ValidationError("--parent", "a differencing image needs one");
    }
    if (!differencing && !image.parent.empty()) {
        throw CLI::ValidationError("--parent", "only a differencing image has one");
    }
    if (!differencing && image.size == 0) {
        throw CLI::ValidationError("--size", "is needed, as in --size 2G");
    }
    if (image.reserve && (differencing || image.type == ImageType::Dynamic)) {
        throw CLI::ValidationError("--reserve", "only a fixed or raw image has its room reserved");
    }
}

void add_create(CLI::App& disk, Action& action) {
    auto options = std::make_shared<CreateOptions>();
    disk::NewImage& image = options->image;
    CLI::App* create = disk.add_subcommand("create", "make an empty image, or a child of another one");
    create->add_option("FILE", image.file, "the new image")->required();
    add_type(*create, image.type, {ImageType::Dynamic, ImageType::Fixed, ImageType::Differencing, ImageType::Raw});
    add_size(*create, "--size", image.size, "size of the disk; of a differencing one its parent's, or more");
    create->add_option("--parent", image.parent, "differencing: the image that it starts as a copy of")
        ->type_name("IMAGE");
    add_parent_folders(*create, image.parent_folders);
    add_block_size(*create, image.block_size,
                   "dynamic or differencing: size of blocks, a power of two (default 2M, or the parent's)");
    create->add_flag("--reserve", image.reserve, "fixed or raw: take all of the room on the host's disk now");
    create->add_flag("--force", image.overwrite, "replace a file of that name");
    add_task_options(*create, options->task);
    create->footer(
        "Sizes are bytes, or numbers with K, M, G or T. Once an image has a child, it must not be written to.\n"
        "Examples: vpc disk create --type dynamic --size 2G xp.vhd\n"
        "          vpc disk create --type differencing --parent xp.vhd child.vhd");
    create->callback([options, &action] {
        check_create_options(options->image);
        action = [options] {
            return run_task(
                fmt::format("Creating {}", options->image.file.string()), options->task,
                [&](const disk::Operation& operation) { return disk::create_image(options->image, operation); });
        };
    });
}

}  // namespace

void add_disk_copy_commands(CLI::App& disk, Action& action) {
    add_create(disk, action);
    add_convert(disk, action);
    add_merge_to(disk, action);
}

}  // namespace vpc::cli
