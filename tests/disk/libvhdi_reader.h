#pragma once
#include <libvhdi.h>

#include <cstdint>
#include <filesystem>
#include <vector>

namespace vpc::disk::testing {

/// A chain of images as libvhdi reads it: a second reader that nobody here wrote.
class LibvhdiReader {
  public:
    /// The image first, then its parent, and so on.
    explicit LibvhdiReader(const std::vector<std::filesystem::path>& chain) {
        for (const auto& path : chain) {
            libvhdi_file_t* file = nullptr;
            good_ = good_ && libvhdi_file_initialize(&file, nullptr) == 1;
            files_.push_back(file);
            good_ = good_ && libvhdi_file_open(file, path.c_str(), LIBVHDI_OPEN_READ, nullptr) == 1;
        }
        for (std::size_t i = files_.size() - 1; good_ && i-- > 0;) {
            good_ = libvhdi_file_set_parent_file(files_[i], files_[i + 1], nullptr) == 1;
        }
    }
    LibvhdiReader(const LibvhdiReader&) = delete;
    LibvhdiReader& operator=(const LibvhdiReader&) = delete;
    ~LibvhdiReader() {
        for (libvhdi_file_t* file : files_) {  // children before parents, whose addresses they hold
            libvhdi_file_free(&file, nullptr);
        }
    }

    bool good() const { return good_; }

    std::uint64_t size() const {
        size64_t size = 0;
        return good_ && libvhdi_file_get_media_size(files_[0], &size, nullptr) == 1 ? size : 0;
    }

    /// Empty when reading fails.
    std::vector<std::uint8_t> read(std::uint64_t offset, std::size_t length) const {
        std::vector<std::uint8_t> bytes(length);
        std::size_t done = 0;
        while (good_ && done < length) {
            const ssize_t got = libvhdi_file_read_buffer_at_offset(files_[0], bytes.data() + done, length - done,
                                                                   static_cast<off64_t>(offset + done), nullptr);
            if (got <= 0) {
                return {};
            }
            done += static_cast<std::size_t>(got);
        }
        return good_ ? bytes : std::vector<std::uint8_t>();
    }

  private:
    std::vector<libvhdi_file_t*> files_;
    bool good_ = true;
};

}  // namespace vpc::disk::testing
