#include "disk/operations/children.h"

#include <algorithm>
#include <array>

namespace vpc::disk {

std::optional<ChildImage> find_other_child(const std::vector<ChainLink>& images) {
    constexpr std::array<std::uint8_t, 16> kNoId = {};
    std::vector<std::filesystem::path> folders;
    folders.reserve(images.size());
    for (const ChainLink& image : images) {
        folders.push_back(image.path.has_parent_path() ? image.path.parent_path() : std::filesystem::path("."));
    }
    std::sort(folders.begin(), folders.end());
    folders.erase(std::unique(folders.begin(), folders.end()), folders.end());
    for (const auto& folder : folders) {
        std::error_code error;
        for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
             entry.increment(error)) {
            const auto extension = entry->path().extension();
            std::error_code ignored;
            if ((extension != ".vhd" && extension != ".avhd" && extension != ".vud") ||
                std::any_of(images.begin(), images.end(), [&](const ChainLink& image) {
                    return std::filesystem::equivalent(image.path, entry->path(), ignored);
                })) {
                continue;
            }
            const auto others = read_chain(entry->path(), {.quiet = true});
            if (!others || others->empty() || others->front().type != ImageType::Differencing) {
                continue;  // nothing that could have a parent
            }
            for (const ChainLink& image : images) {
                if (image.unique_id != kNoId && others->front().parent_id == image.unique_id) {
                    return ChildImage{image.path, entry->path()};
                }
            }
        }
    }
    return std::nullopt;
}

}  // namespace vpc::disk
