#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "disk/chain.h"
#include "disk/vhd/dynamic_header.h"

namespace vpc::disk {

/// Finds and opens the parent of a differencing VHD.
using FindParent = std::function<Result<std::unique_ptr<BlockDevice>>(File& child, const vhd::Footer& footer,
                                                                      const vhd::DynamicHeader& header)>;

/// open_image() for a file that is open already, with any way of finding parents.
Result<std::unique_ptr<BlockDevice>> open_image(std::unique_ptr<File> file, const OpenOptions& options,
                                                const FindParent& find_parent);

/// Opens an image with all its parents, once. Threads: one call at a time.
class ChainOpener {
  public:
    /// The options must outlive the object.
    explicit ChainOpener(const OpenOptions& options) : options_(options) {}

    Result<std::unique_ptr<BlockDevice>> open(const std::filesystem::path& image);

    /// What open() came across, from the image to the last parent it opened or tried to open.
    const std::vector<ChainLink>& links() const { return links_; }

  private:
    Result<std::unique_ptr<BlockDevice>> open_link(const std::filesystem::path& path, OpenMode mode);
    Result<std::unique_ptr<BlockDevice>> open_parent(const std::filesystem::path& child_path, File& child,
                                                     const vhd::DynamicHeader& header);

    const OpenOptions& options_;
    std::vector<ChainLink> links_;
    std::uint64_t table_entries_ = 0;  ///< of all images so far
};

}  // namespace vpc::disk
