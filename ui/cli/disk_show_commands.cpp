#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>

#include "disk/block_device.h"
#include "disk/operations/compare.h"
#include "ui/cli/disk_command.h"
#include "ui/cli/disk_task.h"

namespace vpc::cli {
namespace {

struct MapOptions {
    std::string file;
    bool json = false;
};

/// One line for each run of the disk that is alike; those that lie side by side and say the same become one.
class MapPrinter {
  public:
    explicit MapPrinter(bool json) : json_(json) {
        print_text(stdout, fmt::format("{}", json ? "[" : "start            length           in\n"));
    }

    void add(std::uint64_t sector, const disk::Extent& extent) {
        if (run_.sectors != 0 && run_.data == extent.data && run_.depth == extent.depth) {
            run_.sectors += extent.sectors;
            return;
        }
        print();
        start_ = sector;
        run_ = extent;
    }

    void finish() {
        print();
        print_text(stdout, fmt::format("{}", json_ ? "]\n" : ""));
    }

  private:
    void print() {
        if (run_.sectors == 0) {
            return;
        }
        const std::uint64_t start = start_ * disk::kSectorSize;
        const std::uint64_t length = run_.sectors * disk::kSectorSize;
        if (json_) {
            const nlohmann::ordered_json object = {
                {"start", start}, {"length", length}, {"data", run_.data}, {"depth", run_.depth}};
            print_text(stdout, fmt::format("{}{}", first_ ? "" : ",\n ", object.dump()));
        } else if (!run_.data) {
            print_text(stdout, fmt::format("{:<16} {:<16} zeros\n", start, length));
        } else if (run_.depth == 0) {
            print_text(stdout, fmt::format("{:<16} {:<16} the image\n", start, length));
        } else {
            print_text(stdout, fmt::format("{:<16} {:<16} parent {}\n", start, length, run_.depth));
        }
        first_ = false;
    }

    bool json_;
    bool first_ = true;
    std::uint64_t start_ = 0;
    disk::Extent run_;
};

ExitStatus show_map(const MapOptions& options) {
    const auto image = disk::open_image(options.file, disk::OpenMode::ReadOnly);
    if (!image) {
        return report(image.error());
    }
    MapPrinter printer(options.json);
    const std::uint64_t sectors = (*image)->sectors();
    for (std::uint64_t sector = 0; sector < sectors;) {
        const auto extent = (*image)->extent(sector, sectors - sector);
        if (!extent) {
            return report(extent.error());
        }
        printer.add(sector, *extent);
        sector += extent->sectors;
    }
    printer.finish();
    return kDone;
}

void add_map(CLI::App& disk, Action& action) {
    auto options = std::make_shared<MapOptions>();
    CLI::App* map = disk.add_subcommand("map", "show which parts of a disk are stored, and in which image");
    map->add_option("FILE", options->file, "image")->required();
    map->add_flag("--json", options->json, "as a JSON array of objects with start, length, data, depth");
    map->footer("Starts and lengths are bytes of the disk.\nExample: vpc disk map xp.vhd");
    map->callback([options, &action] { action = [options] { return show_map(*options); }; });
}

struct CompareOptions {
    std::string first;
    std::string second;
    bool json = false;
    TaskOptions task;
};

std::string comparison_text(const disk::Comparison& comparison) {
    if (comparison.first_difference) {
        return fmt::format("the disks differ at byte {}", *comparison.first_difference);
    }
    if (comparison.first_size != comparison.second_size) {
        return fmt::format("the disks hold the same, but have {} and {} bytes", comparison.first_size,
                           comparison.second_size);
    }
    return "the disks are identical";
}

ExitStatus compare_images(const CompareOptions& options) {
    disk::Comparison comparison;
    const ExitStatus status = run_task(fmt::format("Comparing {} with {}", options.first, options.second), options.task,
                                       [&](const disk::Operation& operation) -> disk::Status {
                                           auto found = disk::compare(options.first, options.second, operation);
                                           if (!found) {
                                               return tl::unexpected<disk::Error>(found.error());
                                           }
                                           comparison = *found;
                                           return {};
                                       });
    if (status != kDone) {
        return status;
    }
    if (options.json) {
        nlohmann::ordered_json object = {{"equal", comparison.equal()},
                                         {"first_size", comparison.first_size},
                                         {"second_size", comparison.second_size},
                                         {"first_difference", nullptr}};
        if (comparison.first_difference) {
            object["first_difference"] = *comparison.first_difference;
        }
        print_text(stdout, fmt::format("{}\n", object.dump()));
    } else if (options.task.progress != "json") {
        print_text(stdout, fmt::format("{}\n", comparison_text(comparison)));
    }
    return comparison.equal() ? kDone : kFailed;
}

void add_compare(CLI::App& disk, Action& action) {
    auto options = std::make_shared<CompareOptions>();
    CLI::App* compare = disk.add_subcommand("compare", "compare what two images hold, whatever their types");
    compare->add_option("A", options->first, "image")->required();
    compare->add_option("B", options->second, "image")->required();
    compare->add_flag("--json", options->json, "as one JSON object");
    add_task_options(*compare, options->task);
    compare->footer(
        "Ends with status 0 when the disks are identical, 1 when they differ or on failure.\n"
        "Example: vpc disk compare old.vhd new.vhd");
    compare->callback([options, &action] { action = [options] { return compare_images(*options); }; });
}

}  // namespace

void add_disk_show_commands(CLI::App& disk, Action& action) {
    add_map(disk, action);
    add_compare(disk, action);
}

}  // namespace vpc::cli
