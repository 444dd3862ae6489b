#include "disk/parent_search.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include "disk/vhd/parent_locator.h"

namespace vpc::disk {
namespace {

namespace fs = std::filesystem;

/// Files of a folder that are looked at.
constexpr int kMaxFolderEntries = 4096;

std::string last_part(const std::string& path) {
    return path.substr(path.find_last_of('/') + 1);
}

/// "C:/x" and "//server/x", which mean nothing to this host.
bool names_a_drive_or_server(std::string_view path) {
    return path.starts_with("//") || (path.size() >= 2 && path[1] == ':');
}

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return text;
}

class Candidates {
  public:
    void add(const fs::path& path, bool named = true) {
        std::error_code error;
        if (fs::is_regular_file(path, error) &&
            std::none_of(files_.begin(), files_.end(),
                         [&path](const ParentCandidate& file) { return file.path == path; })) {
            files_.push_back({.path = path, .named = named});
        }
    }
    std::vector<ParentCandidate> take() { return std::move(files_); }

  private:
    std::vector<ParentCandidate> files_;
};

/// The rules 1 to 4, for one path.
void add_paths(Candidates& candidates, const fs::path& folder, const vhd::ParentPath& recorded) {
    const std::string& path = recorded.path;
    if (recorded.platform_code == vhd::kRelativeWindowsPath || recorded.platform_code == vhd::kOldRelativePath) {
        candidates.add((folder / fs::path(path).relative_path()).lexically_normal());
    } else if (!names_a_drive_or_server(path)) {
        candidates.add((folder / path).lexically_normal());  // an absolute path replaces the folder
    }
    candidates.add(folder / last_part(path));
}

}  // namespace

Result<std::vector<ParentCandidate>> parent_candidates(File& child, const fs::path& child_path,
                                                       const vhd::DynamicHeader& header,
                                                       const std::vector<fs::path>& folders) {
    const auto recorded = vhd::read_parent_paths(child, header);
    if (!recorded) {
        return tl::unexpected<Error>(recorded.error());
    }
    std::error_code error;
    fs::path real = fs::canonical(child_path, error);
    const fs::path folder = (error ? fs::absolute(child_path, error) : real).parent_path();
    Candidates candidates;
    std::vector<std::string> names;
    const auto add_all = [&](const vhd::FourCc& code) {
        for (const vhd::ParentPath& path : *recorded) {
            if (path.platform_code == code) {
                add_paths(candidates, folder, path);
                names.push_back(last_part(path.path));
            }
        }
    };
    add_all(vhd::kRelativeWindowsPath);
    names.push_back(last_part(vhd::parent_name(header)));
    candidates.add(folder / names.back());
    for (const auto& code : {vhd::kAbsoluteWindowsPath, vhd::kMacUrl, vhd::kOldRelativePath, vhd::kOldAbsolutePath}) {
        add_all(code);
    }
    for (const fs::path& other : folders) {
        for (const std::string& name : names) {
            candidates.add(other / name);
        }
    }
    std::vector<fs::path> images;
    int left = kMaxFolderEntries;
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end && left > 0;
         entry.increment(error), --left) {
        const std::string name = lower(entry->path().filename().string());
        if (std::any_of(names.begin(), names.end(), [&](const std::string& wanted) { return lower(wanted) == name; })) {
            candidates.add(entry->path());
        } else if (name.ends_with(".vhd") || name.ends_with(".avhd") || name.ends_with(".vud")) {
            images.push_back(entry->path());
        }
    }
    std::sort(images.begin(), images.end());  // not by chance
    for (const fs::path& image : images) {
        candidates.add(image, false);
    }
    return candidates.take();
}

Result<std::string> recorded_parent_name(File& child, const vhd::DynamicHeader& header) {
    std::string name = last_part(vhd::parent_name(header));
    if (!name.empty()) {
        return name;
    }
    const auto recorded = vhd::read_parent_paths(child, header);
    if (!recorded) {
        return tl::unexpected<Error>(recorded.error());
    }
    return recorded->empty() ? name : last_part(recorded->front().path);
}

bool has_changed_since(const fs::path& file, std::uint32_t recorded) {
    struct stat status = {};
    if (recorded == 0 || ::stat(file.c_str(), &status) != 0) {
        return false;
    }
    const std::int64_t now = vhd::time_from_unix(status.st_mtime);
    return std::abs(now - std::int64_t{recorded}) > 2;
}

}  // namespace vpc::disk
