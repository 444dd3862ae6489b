#include "ui/cli/disk_options.h"

#include <CLI/CLI.hpp>
#include <limits>
#include <map>

#include "ui/cli/disk_size.h"

namespace vpc::cli {
namespace {

std::string type_name(disk::ImageType type) {
    switch (type) {
        case disk::ImageType::Raw:
            return "raw";
        case disk::ImageType::Fixed:
            return "fixed";
        case disk::ImageType::Dynamic:
            return "dynamic";
        default:
            return "differencing";
    }
}

std::uint64_t size_of(const std::string& option, const std::string& text) {
    const auto size = parse_size(text);
    if (!size) {
        throw CLI::ValidationError(option, size.error());
    }
    return *size;
}

}  // namespace

CLI::Option* add_size(CLI::App& app, const std::string& name, std::uint64_t& size, const std::string& help) {
    return app
        .add_option_function<std::string>(
            name, [name, &size](const std::string& text) { size = size_of(name, text); }, help)
        ->type_name("SIZE");
}

void add_block_size(CLI::App& app, std::uint32_t& size, const std::string& help) {
    app.add_option_function<std::string>(
           "--block-size",
           [&size](const std::string& text) {
               const std::uint64_t bytes = size_of("--block-size", text);
               if (bytes > std::numeric_limits<std::uint32_t>::max()) {
                   throw CLI::ValidationError("--block-size", "'" + text + "' is larger than any block");
               }
               size = static_cast<std::uint32_t>(bytes);
           },
           help)
        ->type_name("SIZE");
}

void add_type(CLI::App& app, disk::ImageType& type, const std::vector<disk::ImageType>& types) {
    std::map<std::string, disk::ImageType> names;
    std::string list;
    for (const disk::ImageType each : types) {
        names.emplace(type_name(each), each);
        list += (list.empty() ? "" : &each == &types.back() ? " or " : ", ") + type_name(each);
    }
    app.add_option("--type", type, "type of the new image: " + list)
        ->type_name("TYPE")
        ->required()
        ->transform(CLI::CheckedTransformer(names, CLI::ignore_case).description(""));
}

void add_parent_folders(CLI::App& app, std::vector<std::filesystem::path>& folders) {
    app.add_option("--parent-folder", folders, "look for parents here, too; can be repeated")->type_name("FOLDER");
}

}  // namespace vpc::cli
