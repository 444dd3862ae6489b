#pragma once

namespace vpc::disk {

/// As long as one of these lives on a thread, that thread's reads of files of the host get what the host has in its
/// memory, and fail with WouldWait where it would have to wait for its disk (or where the file system cannot tell:
/// RWF_NOWAIT, preadv2(2)). A failed read changes nothing, and can be done again without this. A property of the thread
/// and not a parameter, because between the one who asks and the file lie all formats, chains and overlays, which need
/// not know.
class ReadsAtOnce {
  public:
    ReadsAtOnce() { ++count_; }
    ~ReadsAtOnce() { --count_; }
    ReadsAtOnce(const ReadsAtOnce&) = delete;
    ReadsAtOnce& operator=(const ReadsAtOnce&) = delete;

    static bool wanted() { return count_ > 0; }

  private:
    static inline thread_local int count_ = 0;
};

}  // namespace vpc::disk
