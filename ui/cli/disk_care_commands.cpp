#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "disk/operations/check.h"
#include "disk/operations/image_info.h"
#include "disk/operations/repair.h"
#include "disk/operations/resize.h"
#include "disk/vhd/footer_search.h"
#include "ui/cli/disk_command.h"
#include "ui/cli/disk_size.h"
#include "ui/cli/disk_task.h"

namespace vpc::cli {
namespace {

using Json = nlohmann::ordered_json;

/// File names need not be UTF-8.
void print_json(const Json& object) {
    print_text(stdout, fmt::format("{}\n", object.dump(-1, ' ', false, Json::error_handler_t::replace)));
}

struct InfoOptions {
    std::string file;
    bool json = false;
};

const char* type_name(disk::ImageType type) {
    switch (type) {
        case disk::ImageType::Fixed:
            return "fixed";
        case disk::ImageType::Dynamic:
            return "dynamic";
        case disk::ImageType::Differencing:
            return "differencing";
        case disk::ImageType::Raw:
            break;
    }
    return "raw";
}

/// "2026-11-25T19:00:00Z".
std::string time_text(std::uint32_t time_stamp) {
    const std::time_t seconds = disk::vhd::time_to_unix(time_stamp);
    std::tm parts = {};
    std::array<char, 32> text = {};
    ::gmtime_r(&seconds, &parts);
    const std::size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
    return {text.data(), length};
}

std::string version_text(std::uint32_t version) {
    return fmt::format("{}.{}", version >> 16, version & 0xFFFF);
}

Json parents_json(const disk::ImageInfo& info) {
    Json parents = Json::array();
    for (const disk::ChainLink& link : info.parents) {
        parents.push_back({{"file", link.path.string()},
                           {"type", type_name(link.type)},
                           {"virtual_size", link.size},
                           {"unique_id", disk::vhd::text_of_id(link.unique_id)},
                           {"matches", true},
                           {"changed", link.changed_since_child_was_made},
                           {"problem", nullptr}});
    }
    if (info.missing_parent) {
        parents.push_back({{"file", info.missing_parent->name},
                           {"type", nullptr},
                           {"virtual_size", nullptr},
                           {"unique_id", disk::vhd::text_of_id(info.missing_parent->unique_id)},
                           {"matches", false},
                           {"changed", nullptr},
                           {"problem", info.missing_parent->problem.message}});
    }
    return parents;
}

const char* format_name(const disk::ImageInfo& info) {
    return info.vhdx ? "vhdx" : info.footer ? "vhd" : "raw";
}

Json info_json(const disk::ImageInfo& info) {
    Json object = {{"file", info.file.string()},
                   {"format", format_name(info)},
                   {"type", info.vhdx ? Json() : Json(type_name(info.type))},
                   {"virtual_size", info.virtual_size},
                   {"file_size", info.file_size},
                   {"stored_size", info.stored_size},
                   {"geometry",
                    {{"cylinders", info.geometry.cylinders},
                     {"heads", info.geometry.heads},
                     {"sectors_per_track", info.geometry.sectors_per_track}}},
                   {"block_size", nullptr},
                   {"blocks", nullptr},
                   {"blocks_allocated", nullptr},
                   {"unique_id", nullptr},
                   {"creator", nullptr},
                   {"created", nullptr},
                   {"saved_state", false},
                   {"parents", parents_json(info)},
                   {"note", info.note.empty() ? Json() : Json(info.note)}};
    if (info.blocks) {
        object["block_size"] = info.blocks->block_size;
        object["blocks"] = info.blocks->blocks;
        object["blocks_allocated"] = info.blocks->allocated;
    }
    if (info.footer || info.vhdx) {
        object["unique_id"] = disk::vhd::text_of_id(info.unique_id);
    }
    if (info.footer) {
        object["creator"] = {{"application", disk::text_of(info.footer->creator_application)},
                             {"version", version_text(info.footer->creator_version)},
                             {"host_os", disk::text_of(info.footer->creator_host_os)}};
        object["created"] = time_text(info.footer->time_stamp);
        object["saved_state"] = info.footer->saved_state != 0;
    }
    return object;
}

std::string info_text(const disk::ImageInfo& info) {
    std::string text;
    const auto line = [&text](const char* name, const std::string& value) {
        text += fmt::format("{:<18}{}\n", name, value);
    };
    line("image:", info.file.string());
    line("format:", info.footer ? fmt::format("VHD, {}", type_name(info.type)) : format_name(info));
    line("virtual size:", fmt::format("{} ({} bytes)", size_text(info.virtual_size), info.virtual_size));
    line("file size:", fmt::format("{} ({} bytes), {} on the host's disk", size_text(info.file_size), info.file_size,
                                   size_text(info.stored_size)));
    line("geometry:", fmt::format("{} cylinders, {} heads, {} sectors", info.geometry.cylinders, info.geometry.heads,
                                  info.geometry.sectors_per_track));
    if (info.blocks) {
        line("blocks:", fmt::format("{} of {} allocated, {} each", info.blocks->allocated, info.blocks->blocks,
                                    size_text(info.blocks->block_size)));
    }
    if (info.footer) {
        line("unique id:", disk::vhd::text_of_id(info.footer->unique_id));
        line("creator:", fmt::format("'{}' version {} on '{}', {}", disk::text_of(info.footer->creator_application),
                                     version_text(info.footer->creator_version),
                                     disk::text_of(info.footer->creator_host_os), time_text(info.footer->time_stamp)));
        if (info.footer->saved_state != 0) {
            line("state:", "belongs to a machine in saved state");
        }
    }
    for (const disk::ChainLink& link : info.parents) {
        line("parent:", fmt::format("{} ({}), {}", link.path.string(), type_name(link.type),
                                    link.changed_since_child_was_made
                                        ? "the id matches, but the file has changed since the child was made"
                                        : "matches"));
    }
    if (info.missing_parent) {
        line("parent:", "missing: " + info.missing_parent->problem.message);
    }
    if (!info.note.empty()) {
        line("note:", info.note);
    }
    return text;
}

ExitStatus show_info(const InfoOptions& options) {
    const auto info = disk::read_image_info(options.file);
    if (!info) {
        return report(info.error());
    }
    if (options.json) {
        print_json(info_json(*info));
    } else {
        print_text(stdout, info_text(*info));
    }
    return kDone;
}

void add_info(CLI::App& disk, Action& action) {
    auto options = std::make_shared<InfoOptions>();
    CLI::App* info = disk.add_subcommand("info", "show what an image is, and its chain of parents");
    info->add_option("FILE", options->file, "image")->required();
    info->add_flag("--json", options->json, "as one JSON object");
    info->footer(
        "Sizes are bytes. A missing or wrong parent is shown and is no failure.\n"
        "Example: vpc disk info xp.vhd");
    info->callback([options, &action] { action = [options] { return show_info(*options); }; });
}

struct CheckOptions {
    std::string file;
    bool repair = false;
    disk::RepairOptions how;
    bool json = false;
    TaskOptions task;
};

const char* remedy_name(disk::Remedy remedy) {
    switch (remedy) {
        case disk::Remedy::Lossless:
            return "yes";
        case disk::Remedy::Lossy:
            return "with_loss";
        case disk::Remedy::None:
            break;
    }
    return "no";
}

Json findings_json(const disk::CheckReport& report) {
    Json findings = Json::array();
    for (const disk::Finding& finding : report.findings) {
        findings.push_back({{"kind", disk::name_of(finding.kind)},
                            {"severity", finding.problem ? "problem" : "note"},
                            {"repairable", remedy_name(finding.remedy)},
                            {"text", finding.text}});
    }
    return findings;
}

void print_findings(const disk::CheckReport& report, bool repaired) {
    for (const disk::Finding& finding : report.findings) {
        const char* hint = "";
        if (finding.problem && finding.remedy == disk::Remedy::Lossy) {
            hint = " (--repair --accept-loss gives it up)";
        } else if (finding.problem && finding.remedy == disk::Remedy::Lossless && !repaired) {
            hint = " (--repair puts it right)";
        }
        print_text(stdout, fmt::format("{}: {}{}\n", finding.problem ? "problem" : "note", finding.text, hint));
    }
}

/// A finding that was there before and is not after.
void print_repaired(const disk::RepairReport& report) {
    for (const disk::Finding& finding : report.before.findings) {
        const auto& after = report.after.findings;
        const bool gone = std::none_of(after.begin(), after.end(),
                                       [&](const disk::Finding& other) { return other.text == finding.text; });
        if (finding.problem && gone) {
            print_text(stdout, fmt::format("repaired: {}\n", finding.text));
        }
    }
    if (!report.side_file.empty()) {
        print_text(stdout, fmt::format("what was replaced is in {}\n", report.side_file.string()));
    }
}

void print_check(const CheckOptions& options, const disk::RepairReport& report) {
    const disk::CheckReport& last = report.after;
    if (options.json) {
        Json object = {{"file", options.file},
                       {"type", type_name(last.type)},
                       {"clean", last.clean()},
                       {"findings", findings_json(last)}};
        if (options.repair) {
            object["before"] = findings_json(report.before);
            object["side_file"] = report.side_file.empty() ? Json() : Json(report.side_file.string());
        }
        print_json(object);
        return;
    }
    if (options.repair) {
        print_repaired(report);
    }
    print_findings(last, options.repair);
    if (last.clean()) {
        print_text(stdout, "no problems\n");
    }
}

ExitStatus check_image(const CheckOptions& options) {
    disk::RepairReport report;
    const ExitStatus status = run_task(fmt::format("Checking {}", options.file), options.task,
                                       [&](const disk::Operation& operation) -> disk::Status {
                                           if (options.repair) {
                                               auto done = disk::repair(options.file, options.how, operation);
                                               if (!done) {
                                                   return tl::unexpected<disk::Error>(done.error());
                                               }
                                               report = std::move(*done);
                                               return {};
                                           }
                                           auto done = disk::check(options.file, options.how.parent_folders, operation);
                                           if (!done) {
                                               return tl::unexpected<disk::Error>(done.error());
                                           }
                                           report.after = std::move(*done);
                                           return {};
                                       });
    if (status != kDone) {
        return status;
    }
    if (options.json || options.task.progress != "json") {
        print_check(options, report);
    }
    return report.after.clean() ? kDone : kFailed;
}

void add_check(CLI::App& disk, Action& action) {
    auto options = std::make_shared<CheckOptions>();
    CLI::App* check = disk.add_subcommand("check", "examine an image's structures, and repair them if asked to");
    check->add_option("FILE", options->file, "image that nobody writes to")->required();
    CLI::Option* repair = check->add_flag(
        "--repair", options->repair, "put right what can be without loss; what is replaced is kept in FILE.replaced");
    check
        ->add_flag("--accept-loss", options->how.accept_loss,
                   "also give up what is lost already: blocks outside the file, ends cut off; they become zeros")
        ->needs(repair);
    check->add_flag("--json", options->json, "as one JSON object");
    add_task_options(*check, options->task);
    check->footer(
        "Without --repair nothing is written. Every finding is one line.\n"
        "Ends with status 0 when there is no problem (left), 1 when there is one or on failure.\n"
        "Examples: vpc disk check xp.vhd\n"
        "          vpc disk check xp.vhd --repair");
    check->callback([options, &action] { action = [options] { return check_image(*options); }; });
}

struct ResizeOptions {
    std::string file;
    std::uint64_t size = 0;
    TaskOptions task;
};

void add_resize(CLI::App& disk, Action& action) {
    auto options = std::make_shared<ResizeOptions>();
    CLI::App* resize = disk.add_subcommand("resize", "give an image's disk another size, in place");
    resize->add_option("FILE", options->file, "image that nobody uses")->required();
    resize
        ->add_option_function<std::string>(
            "SIZE",
            [options](const std::string& text) {
                const auto parsed = parse_size(text);
                if (!parsed) {
                    throw CLI::ValidationError("SIZE", parsed.error());
                }
                options->size = *parsed;
            },
            "the new size: bytes, or with K, M, G or T")
        ->type_name("")
        ->required();
    add_task_options(*resize, options->task);
    resize->footer(
        "What is new holds zeros; partitions stay as they are. An end that is in use is not cut off.\n"
        "Example: vpc disk resize xp.vhd 40G");
    resize->callback([options, &action] {
        action = [options] {
            return run_task(fmt::format("Resizing {}", options->file), options->task,
                            [&](const disk::Operation& operation) {
                                return disk::resize(options->file, options->size, {}, operation);
                            });
        };
    });
}

}  // namespace

void add_disk_care_commands(CLI::App& disk, Action& action) {
    add_info(disk, action);
    add_check(disk, action);
    add_resize(disk, action);
}

}  // namespace vpc::cli
