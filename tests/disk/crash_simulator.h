#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <random>
#include <string>

#include "tests/disk/recording_file.h"

namespace vpc::disk::testing {

inline void apply(MemoryContents& contents, const FileOperation& operation) {
    if (operation.kind == FileOperation::Kind::Write) {
        contents.write(operation.offset, operation.bytes);
    } else if (operation.kind == FileOperation::Kind::Truncate) {
        contents.truncate(operation.offset);
    }
}

/// Writes down that the last of the operations on a file is on the disk. So is then the file's size, and with it what
/// has made the file shorter before.
template <typename Operations>
void store_last(Operations& operations) {
    for (FileOperation& operation : operations) {
        operation.stored = operation.stored || operation.kind == FileOperation::Kind::Truncate;
    }
    if (!operations.empty()) {
        static_cast<FileOperation&>(operations.back()).stored = true;
    }
}

/// Applies what the dice leave over of operations that no barrier followed. `keep_percent` per sector.
inline void apply_partly(MemoryContents& contents, const FileOperation& operation, std::mt19937& random,
                         std::uint32_t keep_percent) {
    if (operation.stored) {
        return apply(contents, operation);
    }
    const auto kept = [&] { return random() % 100 < keep_percent; };
    if (operation.kind != FileOperation::Kind::Write) {
        if (kept()) {
            apply(contents, operation);
        }
        return;
    }
    const std::uint64_t end = operation.offset + operation.bytes.size();
    for (std::uint64_t offset = operation.offset; offset < end;) {
        const std::uint64_t length = std::min(end - offset, 512 - offset % 512);
        if (kept()) {
            contents.write(offset, std::span(operation.bytes).subspan(offset - operation.offset, length));
        }
        offset += length;
    }
    if (end > contents.size && random() % 2 == 0) {
        contents.truncate(end);  // the file has grown, the contents are missing
    }
}

/// What a simulation has tried and found.
struct CrashReport {
    int states = 0;     ///< images that a power failure could have left
    std::string wrong;  ///< what was wrong with the first bad one, empty if there was none
};

/// Imagines a power failure after each of the operations that were recorded on a file which was `before` at the start:
/// everything before the last barrier is on the disk, and what was written through; of everything else any part, sector
/// by sector, and the file may have grown without its contents. `inspect` says what is wrong with such an image, or
/// nothing. `note` hears of the notes among the operations when they are due.
inline CrashReport simulate_crashes(const MemoryContents& before, const FileOperations& operations, std::uint32_t seed,
                                    const std::function<void(const FileOperation&)>& note,
                                    const std::function<std::string(const MemoryContents&)>& inspect) {
    CrashReport report;
    std::mt19937 random(seed);
    MemoryContents durable = before;
    FileOperations unsynced;
    for (std::size_t done = 0;; ++done) {
        for (const std::uint32_t keep_percent : {0u, 100u, 50u, 50u, 20u, 80u}) {
            MemoryContents left = durable;
            for (const FileOperation& operation : unsynced) {
                apply_partly(left, operation, random, keep_percent);
            }
            ++report.states;
            if (const std::string wrong = inspect(left); !wrong.empty()) {
                report.wrong = wrong + " - after operation " + std::to_string(done) + " of " +
                               std::to_string(operations.size()) + ", keeping " + std::to_string(keep_percent) +
                               " percent of " + std::to_string(unsynced.size());
                return report;
            }
        }
        if (done == operations.size()) {
            return report;
        }
        const FileOperation& next = operations[done];
        switch (next.kind) {
            case FileOperation::Kind::Note:
                note(next);
                break;
            case FileOperation::Kind::Sync:
                for (const FileOperation& operation : unsynced) {
                    apply(durable, operation);
                }
                unsynced.clear();
                break;
            case FileOperation::Kind::SyncLast:
                store_last(unsynced);
                break;
            default:
                unsynced.push_back(next);
        }
    }
}

}  // namespace vpc::disk::testing
