#include "devices/vga/aperture.h"

#include <utility>

namespace vpc::devices::vga {
namespace {

constexpr std::uint32_t kWindow = 0xA0000;
constexpr std::uint32_t kPage = VideoRam::kPage;
/// Larger windows are not worth copying: those of text and of the CGA's modes have this size.
constexpr std::uint32_t kLargestCopy = 0x8000;

}  // namespace

Aperture::Aperture(PhysicalMemory& memory, VideoRam& ram, VideoMemory& planes, Later later)
    : memory_(memory), ram_(ram), planes_(planes), later_(std::move(later)), copy_(kLargestCopy + kPage - 1) {
    const auto address = reinterpret_cast<std::uintptr_t>(copy_.data());
    aligned_copy_ = copy_.data() + (kPage - address % kPage) % kPage;
    answer(0, VideoMemory::kApertureSize);
}

Aperture::~Aperture() {
    close();
    place_frame_buffer(std::nullopt);
    for (const std::uint32_t first : answered_) {
        memory_.unmap(first);
    }
}

void Aperture::answer(std::uint32_t first, std::uint32_t size) {
    if (size == 0) {
        return;
    }
    memory_.map_mmio("VGA memory", kWindow + first, size,
                     {.read =
                          [this, first](std::uint32_t offset, unsigned width) {
                              count_access();
                              return planes_.read(first + offset, width);
                          },
                      .write =
                          [this, first](std::uint32_t offset, std::uint32_t value, unsigned width) {
                              count_access();
                              planes_.write(first + offset, value, width);
                          }});
    answered_.push_back(kWindow + first);
}

void Aperture::count_access() {
    if (++accesses_ == kBusy && later_ && considered_) {
        later_([this] { open(); });
    }
}

void Aperture::reconsider() {
    auto window = planes_.plain_window();
    if (window && !window->linear && window->size > kLargestCopy) {
        window.reset();
    }
    if (window == considered_) {
        return;
    }
    close();
    considered_ = window;
    accesses_ = 0;
}

void Aperture::open() {
    if (open_ || !considered_) {
        return;
    }
    for (const std::uint32_t first : answered_) {
        memory_.unmap(first);
    }
    answered_.clear();
    open_ = considered_;
    std::uint8_t* memory = aligned_copy_;
    if (open_->linear) {
        memory = ram_.second_view() + *open_->linear;
    } else {
        planes_.load_plain(*open_, 0, {aligned_copy_, open_->size});
    }
    answer(0, open_->first);
    const bool mapped = memory_.try_map_ram("VGA memory", kWindow + open_->first, open_->size, memory);
    answer(open_->first + open_->size, VideoMemory::kApertureSize - open_->first - open_->size);
    if (!mapped) {  // cannot be: the range was ours
        open_.reset();
    }
}

void Aperture::close() {
    if (!open_) {
        return;
    }
    collect();
    memory_.unmap(kWindow + open_->first);
    open_.reset();
    accesses_ = 0;
    for (const std::uint32_t first : std::exchange(answered_, {})) {
        memory_.unmap(first);
    }
    answer(0, VideoMemory::kApertureSize);
}

void Aperture::place_frame_buffer(std::optional<std::uint32_t> first) {
    if (frame_buffer_) {
        collect();
        memory_.unmap(*frame_buffer_);
        frame_buffer_.reset();
    }
    if (first && memory_.try_map_ram("VGA linear frame buffer", *first, VideoRam::kSize, ram_.data())) {
        frame_buffer_ = first;
    }
}

void Aperture::collect() {
    if (open_) {
        std::vector<bool> pages(open_->size / kPage);
        memory_.take_written_pages(kWindow + open_->first, pages);
        for (std::uint32_t page = 0; page < pages.size(); ++page) {
            if (!pages[page]) {
                continue;
            }
            if (open_->linear) {
                ram_.mark(*open_->linear + page * kPage, kPage);
            } else {
                planes_.store_plain(*open_, page * kPage, {aligned_copy_ + page * kPage, kPage});
            }
        }
    }
    if (frame_buffer_) {
        memory_.take_written_pages(*frame_buffer_, ram_.marks());
    }
}

}  // namespace vpc::devices::vga
