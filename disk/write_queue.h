#pragma once
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "disk/file.h"
#include "disk/operations/operation.h"

namespace vpc::disk {

/// Writes large pieces to a file behind the back of the thread that fills them, so that reading and writing go on at
/// the same time. The pieces lie in a fixed number of buffers: all the memory that a copy needs.
///
/// Pieces in the queue at the same time are written in any order, so they must not overlap. Threads: the members are
/// for one thread, the operation's; the file is used by this object's own threads from submit() until drain().
class WriteQueue {
  public:
    /// Data in a piece, at most.
    static constexpr std::size_t kPieceSize = std::size_t{2} << 20;

    /// Memory at a multiple of kDirectAlignment, with room for a page of a block's bitmap in front of the data.
    class Piece {
      public:
        Piece();
        std::span<std::uint8_t> data() { return {memory_.get() + kDirectAlignment, kPieceSize}; }
        /// The page in front of the data.
        std::span<std::uint8_t> front() { return {memory_.get(), kDirectAlignment}; }
        /// `length` bytes from `before` bytes in front of the data on.
        ConstBuffer part(std::size_t before, std::size_t length) const {
            return {memory_.get() + kDirectAlignment - before, length};
        }

      private:
        struct Free {
            void operator()(std::uint8_t* memory) const { std::free(memory); }
        };
        std::unique_ptr<std::uint8_t, Free> memory_;
    };

    /// `file` must outlive the queue; `meter` is told of what has been written, each byte as `weight` bytes of work.
    WriteQueue(File& file, WorkMeter& meter, std::uint64_t weight = 1);
    /// Waits for the writes that have begun; those that have not are dropped.
    ~WriteQueue();
    WriteQueue(const WriteQueue&) = delete;
    WriteQueue& operator=(const WriteQueue&) = delete;

    /// A buffer to fill, as soon as one is free. It fails with the error of an earlier write, or with Cancelled.
    Result<Piece*> acquire();
    /// Has the parts of an acquired buffer written and takes the buffer back. No parts: only takes it back.
    struct Part {
        std::uint64_t offset = 0;  ///< in the file
        ConstBuffer bytes;         ///< in the buffer
    };
    void submit(Piece* piece, std::vector<Part> parts);
    /// Waits until all is written. Fails as acquire() does.
    Status drain();

  private:
    struct Job {
        Piece* piece = nullptr;
        std::vector<Part> parts;
    };

    void work();
    Status settle(std::unique_lock<std::mutex>& lock);

    File& file_;
    WorkMeter& meter_;
    std::uint64_t weight_;
    std::vector<std::unique_ptr<Piece>> pieces_;
    std::mutex mutex_;
    std::condition_variable changed_;  ///< any of what follows
    std::vector<Piece*> free_;
    std::deque<Job> jobs_;
    std::uint64_t written_ = 0;  ///< bytes that the meter has not heard of
    std::optional<Error> error_;
    bool ending_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace vpc::disk
