#pragma once
#include <cstdint>
#include <vector>

namespace vpc {
class StateStream;
}

namespace vpc::devices::vga {

/// The adapter's memory: 16 MiB, as the Bochs adapter has by default. The host shows it at two addresses, so that the
/// guest may have it mapped at two places at once, the linear frame buffer and the window at A0000h.
///
/// Remembers which pages changed until they are looked at; whoever stores here says so with mark.
class VideoRam {
  public:
    static constexpr std::uint32_t kSize = 16u << 20;
    static constexpr std::uint32_t kPage = 4096;
    static constexpr std::uint32_t kPages = kSize / kPage;

    /// Zeroed; the host commits pages as they are touched. Throws std::bad_alloc.
    VideoRam();
    ~VideoRam();
    VideoRam(const VideoRam&) = delete;
    VideoRam& operator=(const VideoRam&) = delete;

    std::uint8_t* data() { return data_; }
    const std::uint8_t* data() const { return data_; }
    /// The same memory at another host address.
    std::uint8_t* second_view() { return second_view_; }

    /// All zeros.
    void clear();

    /// [first, first + size), not empty and within the memory, was stored to.
    void mark(std::uint32_t first, std::uint32_t size);
    /// One entry per page; the reader clears what it has seen.
    std::vector<bool>& marks() { return marks_; }

    /// Saves pages that are not all zeros. A loaded memory is marked as a whole.
    void serialize(StateStream& stream);

  private:
    bool is_zero(std::uint32_t page) const;

    std::uint8_t* data_ = nullptr;
    std::uint8_t* second_view_ = nullptr;
    int descriptor_ = -1;
    std::vector<bool> marks_ = std::vector<bool>(kPages);
};

}  // namespace vpc::devices::vga
