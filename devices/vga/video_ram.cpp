#include "devices/vga/video_ram.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "core/state_stream.h"

namespace vpc::devices::vga {

VideoRam::VideoRam() {
    const auto map = [this] {
        void* view = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_, 0);
        return view == MAP_FAILED ? nullptr : static_cast<std::uint8_t*>(view);
    };
    descriptor_ = memfd_create("video memory", MFD_CLOEXEC);
    if (descriptor_ >= 0 && ftruncate(descriptor_, kSize) == 0) {
        data_ = map();
        second_view_ = map();
    }
    if (data_ == nullptr || second_view_ == nullptr) {
        if (data_ != nullptr) {
            munmap(data_, kSize);
        }
        if (descriptor_ >= 0) {
            close(descriptor_);
        }
        throw std::bad_alloc();
    }
}

VideoRam::~VideoRam() {
    munmap(data_, kSize);
    munmap(second_view_, kSize);
    close(descriptor_);
}

void VideoRam::clear() {
    // Gives the pages back to the host; where it cannot, they are filled.
    if (fallocate(descriptor_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kSize) != 0) {
        std::memset(data_, 0, kSize);
    }
    marks_.assign(kPages, true);
}

void VideoRam::mark(std::uint32_t first, std::uint32_t size) {
    for (std::uint32_t page = first / kPage; page <= (first + size - 1) / kPage; ++page) {
        marks_[page] = true;
    }
}

bool VideoRam::is_zero(std::uint32_t page) const {
    static constexpr std::uint8_t kZeros[kPage] = {};
    return std::memcmp(data_ + std::size_t{page} * kPage, kZeros, kPage) == 0;
}

void VideoRam::serialize(StateStream& stream) {
    std::vector<std::uint8_t> used(kPages);
    std::vector<std::uint8_t> contents;
    if (!stream.loading()) {
        // Only what the host has committed is looked at: looking commits it, too.
        for (off_t place = lseek(descriptor_, 0, SEEK_DATA); place >= 0 && place < kSize;) {
            const off_t end = lseek(descriptor_, place, SEEK_HOLE);
            for (auto page = static_cast<std::uint32_t>(place / kPage); page < end / kPage; ++page) {
                if (!is_zero(page)) {
                    used[page] = 1;
                    const std::uint8_t* from = data_ + std::size_t{page} * kPage;
                    contents.insert(contents.end(), from, from + kPage);
                }
            }
            place = lseek(descriptor_, end, SEEK_DATA);
        }
    }
    stream.field(used, kPages);
    stream.field(contents, kSize);
    if (!stream.loading()) {
        return;
    }
    const auto pages = static_cast<std::size_t>(std::count(used.begin(), used.end(), std::uint8_t{1}));
    const auto unused = static_cast<std::size_t>(std::count(used.begin(), used.end(), std::uint8_t{0}));
    if (pages + unused != kPages || contents.size() != pages * kPage) {
        stream.refuse("the video memory has another size");
    }
    clear();
    const std::uint8_t* from = contents.data();
    for (std::uint32_t page = 0; page < kPages; ++page) {
        if (used[page] != 0) {
            std::memcpy(data_ + std::size_t{page} * kPage, from, kPage);
            from += kPage;
        }
    }
}

}  // namespace vpc::devices::vga
