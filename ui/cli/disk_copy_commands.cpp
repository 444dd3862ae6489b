#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>

#include "disk/convert.h"
#include "ui/cli/disk_command.h"
#include "ui/cli/disk_size.h"
#include "ui/cli/disk_task.h"

namespace vpc::cli {
namespace {

struct ConvertOptions {
    std::string source;
    std::string target;
    disk::ImageType type = disk::ImageType::Dynamic;
    std::uint64_t block_size = disk::ConvertTarget().block_size;
    bool reserve = false;
    bool force = false;
    TaskOptions task;
};

void add_size(CLI::App& app, const std::string& name, std::uint64_t& size, const std::string& help) {
    app.add_option_function<std::string>(
           name,
           [name, &size](const std::string& text) {
               const auto parsed = parse_size(text);
               if (!parsed) {
                   throw CLI::ValidationError(name, parsed.error());
               }
               size = *parsed;
           },
           help)
        ->type_name("SIZE");
}

ExitStatus convert_image(const ConvertOptions& options) {
    const disk::ConvertTarget target{.file = options.target,
                                     .type = options.type,
                                     .block_size = static_cast<std::uint32_t>(options.block_size),
                                     .overwrite = options.force,
                                     .reserve = options.reserve};
    return run_task(fmt::format("Converting {}", options.source), options.task,
                    [&](const disk::Operation& operation) { return disk::convert(options.source, target, operation); });
}

void add_target_options(CLI::App& app, ConvertOptions& options) {
    app.add_option("--type", options.type, "type of the new image: dynamic, fixed or raw")
        ->type_name("TYPE")
        ->required()
        ->transform(
            CLI::CheckedTransformer(std::map<std::string, disk::ImageType>{{"dynamic", disk::ImageType::Dynamic},
                                                                           {"fixed", disk::ImageType::Fixed},
                                                                           {"raw", disk::ImageType::Raw}},
                                    CLI::ignore_case)
                .description(""));
    add_size(app, "--block-size", options.block_size, "size of a dynamic image's blocks, a power of two (default 2M)");
    app.add_flag("--reserve", options.reserve, "fixed or raw: take all of the room on the host's disk now");
    app.add_flag("--force", options.force, "replace a file of that name");
    add_task_options(app, options.task);
}

void add_convert(CLI::App& disk, Action& action) {
    auto options = std::make_shared<ConvertOptions>();
    CLI::App* convert = disk.add_subcommand("convert", "copy an image into a new one of another type");
    convert->add_option("SRC", options->source, "image, of any type")->required();
    convert->add_option("DST", options->target, "the new image, which appears when it is complete")->required();
    add_target_options(*convert, *options);
    convert->footer(
        "The source is only read. What is zeros takes no room in the new image.\n"
        "Example: vpc disk convert xp.vhd xp-fixed.vhd --type fixed");
    convert->callback([options, &action] { action = [options] { return convert_image(*options); }; });
}

}  // namespace

void add_disk_copy_commands(CLI::App& disk, Action& action) {
    add_convert(disk, action);
}

}  // namespace vpc::cli
