#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "core/physical_memory.h"
#include "devices/vga/video_memory.h"
#include "devices/vga/video_ram.h"

namespace vpc::devices::vga {

/// Where the guest's address space shows the adapter's memory: the window at A0000h-BFFFFh and the linear frame buffer.
///
/// The linear frame buffer is mapped as memory. The window is answered access by access, and while it is a plain one
/// and busy, it is mapped as memory too: the video memory itself where bytes run through it in order, else a copy of
/// the planes' bytes, which collect() brings home. Accesses to mapped memory leave the latches alone; no program is
/// known that fills them in a plain window and uses them in another.
class Aperture {
  public:
    /// Runs a piece of work soon, between two of the CPU's runs: in the middle of an access, what answers it cannot be
    /// unmapped. Empty: the window is never mapped.
    using Later = std::function<void(std::function<void()> work)>;

    /// Answers the window at once. All must outlive it. Throws BusConflict.
    Aperture(PhysicalMemory& memory, VideoRam& ram, VideoMemory& planes, Later later);
    ~Aperture();
    Aperture(const Aperture&) = delete;
    Aperture& operator=(const Aperture&) = delete;

    /// To be called when the way to the memory has changed.
    void reconsider();
    /// The frame buffer answers at `first`, or nowhere. If somebody else owns the place, it answers nowhere.
    void place_frame_buffer(std::optional<std::uint32_t> first);

    /// Marks in the video memory, and brings into the planes, what was stored to mapped memory.
    void collect();
    /// The window answers access by access again, and everything stored is at home.
    void close();
    /// Maps the window if it is plain. What happens by itself after kBusy accesses.
    void open();
    bool is_open() const { return open_.has_value(); }

    /// So many accesses cost about as much as mapping the window once.
    static constexpr unsigned kBusy = 512;

  private:
    void answer(std::uint32_t first, std::uint32_t size);
    void count_access();

    PhysicalMemory& memory_;
    VideoRam& ram_;
    VideoMemory& planes_;
    Later later_;

    std::vector<std::uint32_t> answered_;  // addresses of ranges mapped as I/O
    std::optional<PlainWindow> open_;
    std::vector<std::uint8_t> copy_;         // of an open window over planes; with room to align it
    std::uint8_t* aligned_copy_ = nullptr;   // in copy_, at a page's start
    unsigned accesses_ = 0;                  // since reconsider() saw another window
    std::optional<PlainWindow> considered_;  // what it saw
    std::optional<std::uint32_t> frame_buffer_;
};

}  // namespace vpc::devices::vga
